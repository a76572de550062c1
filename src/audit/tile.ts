/**
 * C2SP tlog-tiles v0.1: paths and contents of full tiles and entry bundles. 256 hashes or entries each.
 */
import { concatBytes } from '#src/bytes';

export const tileWidth = 256;
/** An entry's length is a 16-bit number in its bundle. */
export const maxEntryBytes = 65_535;

/** `tile/<level>/<n>` with n in groups of three digits, all but the last prefixed `x`: 1234067 → `x001/x234/067`. */
export function tilePath(level: number | 'entries', index: number): string {
  const digits = index.toString();
  const padded = digits.padStart(Math.ceil(digits.length / 3) * 3, '0');
  const groups = padded.match(/\d{3}/g) ?? [];
  return `tile/${level}/${groups.map((group, at) => (at < groups.length - 1 ? `x${group}` : group)).join('/')}`;
}

/** Each entry as 16-bit big-endian length and bytes. */
export function encodeEntries(entries: readonly Uint8Array[]): Uint8Array {
  return concatBytes(
    ...entries.flatMap((entry) => [Uint8Array.of(entry.length >> 8, entry.length & 0xff), entry]),
  );
}

/** Inverse of {@link encodeEntries}; undefined when the bytes do not end with an entry. */
export function decodeEntries(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  const entries: Uint8Array[] = [];
  let at = 0;
  while (at < bytes.length) {
    const high = bytes[at];
    const low = bytes[at + 1];
    if (high === undefined || low === undefined) return undefined;
    const end = at + 2 + high * 256 + low;
    if (end > bytes.length) return undefined;
    entries.push(bytes.subarray(at + 2, end));
    at = end;
  }
  return entries;
}

/** The 32-byte hashes of a tile, or undefined when it is not a full tile. */
export function decodeTile(bytes: Uint8Array): readonly Uint8Array[] | undefined {
  if (bytes.length !== tileWidth * 32) return undefined;
  return Array.from({ length: tileWidth }, (_, i) => bytes.subarray(i * 32, i * 32 + 32));
}
