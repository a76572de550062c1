/**
 * Bodies of messages: an ordered map in JSON, CBOR or MGPK that begins with a version string.
 * Key events (protocol `KERI`) and records (`KMSH`) share this codec. What parses encodes to the same bytes.
 */
import { isUtf8 } from 'node:buffer';
import { KelError } from '#kel/errors';
import { equalBytes, utf8 } from '#src/bytes';
import { asBuffer } from './base64.ts';
import type { BodyMap, BodyValue } from './body-value.ts';
import { decodeCbor, encodeCbor } from './cbor-body.ts';
import { decodeJson, encodeJson } from './json-body.ts';
import { decodeMgpk, encodeMgpk } from './mgpk-body.ts';
import { type BodyKind, formatVersion, sniffVersion, type Version } from './version.ts';

export interface Body {
  readonly kind: BodyKind;
  /** Every field in order, `v` first. */
  readonly fields: BodyMap;
}

/** Longest body that is read, in bytes. */
export const MAX_BODY_BYTES = 256 * 1024;

/**
 * @param bytes exactly one body
 * @param version of these bytes, where a stream has read it already
 * @throws KEL_BAD_VERSION, KEL_BAD_BODY, KEL_LIMIT
 */
export function parseBody(
  bytes: Uint8Array,
  protocol: string,
  version: Version = sniffVersion(bytes),
): Body {
  if (bytes.length > MAX_BODY_BYTES) {
    throw new KelError('KEL_LIMIT', `a body of ${bytes.length} bytes is above ${MAX_BODY_BYTES}`);
  }
  if (version.protocol !== protocol) {
    throw new KelError('KEL_BAD_VERSION', `expected protocol ${protocol}, got ${version.protocol}`);
  }
  if (version.size !== bytes.length) {
    throw new KelError(
      'KEL_BAD_VERSION',
      `version string says ${version.size} bytes, the body has ${bytes.length}`,
    );
  }
  return { kind: version.kind, fields: decode(version.kind, bytes) };
}

/**
 * Puts `v` with the final size in front of `fields` (or in place of its own `v`).
 * @throws KEL_LIMIT, KEL_BAD_VALUE for a value that no body can carry
 */
export function encodeBody(
  protocol: string,
  kind: BodyKind,
  fields: Iterable<readonly [string, BodyValue]>,
): Uint8Array {
  const map = new Map<string, BodyValue>([['v', formatVersion({ protocol, kind, size: 0 })]]);
  for (const [label, value] of fields) if (label !== 'v') map.set(label, checked(value));
  const size = encode(kind, map).length;
  if (size > MAX_BODY_BYTES)
    throw new KelError('KEL_LIMIT', `a body of ${size} bytes is above ${MAX_BODY_BYTES}`);
  map.set('v', formatVersion({ protocol, kind, size }));
  return encode(kind, map);
}

function encode(kind: BodyKind, fields: BodyMap): Uint8Array {
  if (kind === 'JSON') return utf8(encodeJson(fields));
  return kind === 'CBOR' ? encodeCbor(fields) : encodeMgpk(fields);
}

function decode(kind: BodyKind, bytes: Uint8Array): BodyMap {
  if (kind === 'JSON') {
    if (!isUtf8(bytes)) throw new KelError('KEL_BAD_BODY', 'JSON body: text is not UTF-8');
    return decodeJson(asBuffer(bytes).toString('utf8'));
  }
  return kind === 'CBOR' ? decodeCbor(bytes) : decodeMgpk(bytes);
}

function checked(value: BodyValue): BodyValue {
  const bad = (what: string) => new KelError('KEL_BAD_VALUE', `a body cannot carry ${what}`);
  if (typeof value === 'string' && !value.isWellFormed()) throw bad('a lone surrogate');
  if (typeof value === 'number') {
    if (!Number.isFinite(value) || Object.is(value, -0)) throw bad(`the number ${value}`);
    if (Number.isInteger(value) && !Number.isSafeInteger(value))
      throw bad(`the inexact integer ${value}`);
  }
  if (
    typeof value === 'bigint' &&
    (Number.isSafeInteger(Number(value)) || value >= 2n ** 64n || value < -(2n ** 63n))
  ) {
    throw bad(`the integer ${value} as a BigInt`);
  }
  if (Array.isArray(value)) for (const item of value) checked(item);
  else if (value instanceof Map) {
    for (const [key, item] of value) {
      checked(key);
      checked(item);
    }
  } else if (value === undefined || (typeof value === 'object' && value !== null)) {
    throw bad('an object that is not a Map, or undefined');
  }
  return value;
}

/** The check that parsing was exact, for tests and for callers that must prove it. */
export function reencodes(body: Body, bytes: Uint8Array): boolean {
  return equalBytes(encode(body.kind, body.fields), bytes);
}
