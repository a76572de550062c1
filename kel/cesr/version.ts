/**
 * Version strings of protocol 1.0: `KERI10JSON00012b_`, 17 characters; and how a body shows its own. Records have a second
 * version, `KMSH20CBOR00012b_`; key events do not.
 */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { asBuffer } from './base64.ts';

export const SERIALIZATION_KINDS = ['JSON', 'CBOR', 'MGPK'] as const;
export type BodyKind = (typeof SERIALIZATION_KINDS)[number];

export interface Version {
  /** Four capitals: `KERI` for key events, `KMSH` for records, others are carried and not read. */
  readonly protocol: string;
  /** 2 for records of that version alone. */
  readonly major: 1 | 2;
  readonly kind: BodyKind;
  /** Bytes of the whole body. */
  readonly size: number;
}

const VERSION_LENGTH = 17;
/** Bytes from the start of a body that {@link sniffVersion} needs at most. */
export const VERSION_SNIFF_LENGTH = 7 + VERSION_LENGTH;

const FORM = /^(?:([A-Z]{4})10|(KMSH)20)(JSON|CBOR|MGPK)([0-9a-f]{6})_$/;

/** @param version its `major` is 1 unless it says otherwise */
export function formatVersion({
  protocol,
  major = 1,
  kind,
  size,
}: Omit<Version, 'major'> & Partial<Version>): string {
  if (size >= 16 ** 6) throw new RangeError(`a body of ${size} bytes has no version string`);
  return `${protocol}${major}0${kind}${size.toString(16).padStart(6, '0')}_`;
}

/** @throws KEL_BAD_VERSION */
export function parseVersion(text: string): Version {
  const match = FORM.exec(text);
  if (match === null)
    throw new KelError(
      'KEL_BAD_VERSION',
      `version string: expected protocol, 10, kind and size, got ${quote(text)}`,
    );
  return {
    protocol: match[1] ?? (match[2] as string),
    major: match[1] === undefined ? 2 : 1,
    kind: match[3] as BodyKind,
    size: Number.parseInt(match[4] as string, 16),
  };
}

/** Serialization that a body with this first byte has (CESR 1.0 cold start); undefined for anything else. */
export function kindOfFirstByte(byte: number): BodyKind | undefined {
  if (byte === 0x7b) return 'JSON';
  if (byte >= 0xa0 && byte <= 0xbf) return 'CBOR';
  if ((byte >= 0x80 && byte <= 0x8f) || byte === 0xde || byte === 0xdf) return 'MGPK';
  return undefined;
}

/**
 * Version of the body that begins at `at`, from its first field.
 * @param bytes at least {@link VERSION_SNIFF_LENGTH} from `at`, unless the body is shorter
 * @throws KEL_BAD_VERSION
 */
export function sniffVersion(bytes: Uint8Array, at = 0): Version {
  const usual = readUsualVersion(bytes, at);
  if (usual !== undefined) return usual;
  const text = versionTextAt(bytes, at);
  if (text === undefined) {
    throw new KelError(
      'KEL_BAD_VERSION',
      `no version string at the start of a body (first byte 0x${(bytes[at] ?? 0).toString(16)})`,
    );
  }
  const version = parseVersion(text);
  const kind = kindOfFirstByte(bytes[at] ?? 0);
  if (version.kind !== kind)
    throw new KelError(
      'KEL_BAD_VERSION',
      `version string says ${version.kind}, the body is ${kind}`,
    );
  return version;
}

/** True when a body with a readable version string begins at `at`: what a search for the next message looks for. */
export function isBodyStart(bytes: Uint8Array, at: number): boolean {
  const text = versionTextAt(bytes, at);
  return (
    text !== undefined && FORM.test(text) && text.slice(6, 10) === kindOfFirstByte(bytes[at] ?? 0)
  );
}

const USUAL_PROTOCOL = 'KERI';
const USUAL = Buffer.from(`${USUAL_PROTOCOL}10`);
const SIZE_LENGTH = 6;
const KIND_BYTES: Readonly<Record<BodyKind, Uint8Array>> = {
  JSON: Buffer.from('JSON'),
  CBOR: Buffer.from('CBOR'),
  MGPK: Buffer.from('MGPK'),
};

/** Version of a key event, read where it stands; undefined for every other, and for what is wrong with it. */
function readUsualVersion(bytes: Uint8Array, at: number): Version | undefined {
  const first = bytes[at] ?? 0;
  const kind = kindOfFirstByte(first);
  const label = kind === undefined ? undefined : versionLabel(kind, first);
  if (kind === undefined || label === undefined) return undefined;
  let next = at + label.skip;
  for (const expected of [label.bytes, USUAL, KIND_BYTES[kind]]) {
    if (!startsWith(bytes, next, expected)) return undefined;
    next += expected.length;
  }
  let size = 0;
  for (const end = next + SIZE_LENGTH; next < end; next++) {
    const digit = hexDigit(bytes[next] ?? 0);
    if (digit < 0) return undefined;
    size = size * 16 + digit;
  }
  return bytes[next] === UNDERSCORE
    ? { protocol: USUAL_PROTOCOL, major: 1, kind, size }
    : undefined;
}

const UNDERSCORE = 0x5f;

/** Lower case; −1 for any other character. */
function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  return byte >= 0x61 && byte <= 0x66 ? byte - 0x57 : -1;
}

/** The 17 characters behind the label `v`; undefined when no body begins there. */
function versionTextAt(bytes: Uint8Array, at: number): string | undefined {
  const first = bytes[at] ?? 0;
  const kind = kindOfFirstByte(first);
  const label = kind === undefined ? undefined : versionLabel(kind, first);
  if (label === undefined || !startsWith(bytes, at + label.skip, label.bytes)) return undefined;
  const from = at + label.skip + label.bytes.length;
  return latin1(bytes, from, from + VERSION_LENGTH);
}

const JSON_LABEL = Buffer.from('{"v":"');
const CBOR_LABEL = Buffer.from('617671', 'hex');
const MGPK_LABEL = Buffer.from('a176b1', 'hex');

interface VersionLabel {
  readonly skip: number;
  readonly bytes: Uint8Array;
}

/** Bytes of the map head, and the label `v` with the head of a 17-character string. */
function versionLabel(kind: BodyKind, first: number): VersionLabel | undefined {
  if (kind === 'JSON') return { skip: 0, bytes: JSON_LABEL };
  if (kind === 'CBOR')
    return first <= 0xb7
      ? { skip: 1, bytes: CBOR_LABEL }
      : first === 0xb8
        ? { skip: 2, bytes: CBOR_LABEL }
        : undefined;
  if (first <= 0x8f) return { skip: 1, bytes: MGPK_LABEL };
  return first === 0xde ? { skip: 3, bytes: MGPK_LABEL } : undefined;
}

function startsWith(bytes: Uint8Array, at: number, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (bytes[at + i] !== prefix[i]) return false;
  return true;
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  return asBuffer(bytes).toString('latin1', from, to);
}
