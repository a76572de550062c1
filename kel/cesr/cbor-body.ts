/**
 * CBOR (RFC 8949) as KERI hashes it: fields in order, definite lengths, shortest heads, no tags, no byte strings.
 * cbor-x encodes; the decoder is strict by construction, because cbor-x would take what it never writes.
 */
import { Encoder } from 'cbor-x';
import { cborOf } from '#src/cbor-reader';
import { bodyReader, wholeMap } from './body-reader.ts';
import type { BodyMap, BodyValue } from './body-value.ts';

const encoder = new Encoder({ useRecords: false, variableMapSize: true, mapsAsObjects: false });

export function encodeCbor(value: BodyValue): Uint8Array {
  return encoder.encode(hasWideInteger(value) ? withBigIntegers(value) : value);
}

/** cbor-x writes integers beyond 32 bits as floats unless they are BigInt, and a BigInt always in 8 bytes. */
function hasWideInteger(value: BodyValue): boolean {
  if (typeof value === 'number') return isWide(value);
  if (Array.isArray(value)) return value.some(hasWideInteger);
  if (value instanceof Map) {
    for (const item of value.values()) if (hasWideInteger(item)) return true;
  }
  return false;
}

function withBigIntegers(value: BodyValue): BodyValue {
  if (typeof value === 'number') return isWide(value) ? BigInt(value) : value;
  if (Array.isArray(value)) return value.map(withBigIntegers);
  if (value instanceof Map)
    return new Map([...value].map(([key, item]) => [key, withBigIntegers(item)]));
  return value;
}

function isWide(value: number): boolean {
  return Number.isInteger(value) && (value >= 2 ** 32 || value < -(2 ** 32));
}

const read = cborOf({
  labels: 'in any order',
  integers: 'to 64 bits',
  bytes: 'refused',
  simple: 'words and floats',
});

/** @throws KEL_BAD_BODY unless `bytes` is exactly what {@link encodeCbor} writes for a map */
export function decodeCbor(bytes: Uint8Array): BodyMap {
  return wholeMap<BodyValue>(bodyReader(bytes, 'CBOR'), read);
}
