/**
 * Base64url without padding (RFC 4648 section 5), strict: the alphabet of CESR.
 * Node's own decoder skips foreign characters and takes `+` and `/`, so it cannot serve here.
 */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** By UTF-16 code unit, so that every character has an entry; −1 for those that are not of the alphabet. */
const VALUES = new Int8Array(2 ** 16).fill(-1);
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

/** @returns 0 to 63, or −1 when the character at `at` is missing or not of the alphabet */
function sextetAt(text: string, at: number): number {
  return at < text.length ? (VALUES[text.charCodeAt(at)] as number) : -1;
}

/**
 * Raw bytes of the primitive that stands at `from` to `to` within `text`, without a string between.
 * @param to a multiple of 4 characters behind `from`
 * @param head characters of the code, in whose room the pad bytes are: `head % 4` of them
 * @returns undefined for a foreign character and for pad bits that are not zero
 */
export function decodePrimitiveAt(
  text: Uint8Array,
  from: number,
  to: number,
  head: number,
): Uint8Array | undefined {
  const pad = head % 4;
  const start = from + head - pad;
  // Without the pad: up to 64 bytes an array is part of the heap, which is several times cheaper to make.
  const out = new Uint8Array(((to - start) / 4) * 3 - pad);
  let seen = 0;
  let at = 0;
  for (let quadlet = start; quadlet < to; quadlet += 4) {
    const skip = quadlet === start ? pad : 0;
    const a = skip > 0 ? 0 : (VALUES[text[quadlet] as number] as number);
    const b = skip > 1 ? 0 : (VALUES[text[quadlet + 1] as number] as number);
    const c = skip > 2 ? 0 : (VALUES[text[quadlet + 2] as number] as number);
    const d = VALUES[text[quadlet + 3] as number] as number;
    seen |= a | b | c | d;
    const value = (a << 18) | (b << 12) | (c << 6) | d;
    if (skip > 0 && value >>> (24 - 8 * skip) !== 0) return undefined;
    if (skip === 0) out[at++] = value >> 16;
    if (skip < 2) out[at++] = value >> 8;
    if (skip < 3) out[at++] = value;
  }
  return seen < 0 ? undefined : out;
}

/** Value of one character of the alphabet, −1 for any other. @param byte its code */
export function sextetOf(byte: number): number {
  return VALUES[byte] as number;
}

/** Big-endian number of `text`; undefined for a foreign character. Up to 8 characters. */
export function base64ToInteger(text: string): number | undefined {
  let value = 0;
  for (let i = 0; i < text.length; i++) {
    const sextet = sextetAt(text, i);
    if (sextet < 0) return undefined;
    value = value * 64 + sextet;
  }
  return value;
}

/** @param length characters, filled with `A` in front  @throws RangeError when the value needs more */
export function integerToBase64(value: number, length: number): string {
  let text = '';
  let rest = value;
  for (let i = 0; i < length; i++) {
    text = ALPHABET.charAt(rest % 64) + text;
    rest = Math.floor(rest / 64);
  }
  if (rest !== 0) throw new RangeError(`${value} does not fit in ${length} Base64 characters`);
  return text;
}

/** True when every character is of the alphabet; also for the empty text. */
export function isBase64(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (sextetAt(text, i) < 0) return false;
  return true;
}

export function encodeBase64(bytes: Uint8Array): string {
  return asBuffer(bytes).toString('base64url');
}

/** The same memory, for what only a Buffer can do. */
export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/**
 * Decodes `text`, whose length is a multiple of 4, with its characters before `from` read as zeros:
 * the code of a primitive takes the room of pad bits. Whole quadlets before `from` are left out.
 * @throws KEL_BAD_CODE for a foreign character
 */
export function decodeBase64(text: string, from = 0): Uint8Array {
  const start = from - (from % 4);
  const out = new Uint8Array(((text.length - start) / 4) * 3);
  let at = 0;
  let seen = 0;
  for (let i = start; i < text.length; i += 4) {
    const a = i < from ? 0 : sextetAt(text, i);
    const b = i + 1 < from ? 0 : sextetAt(text, i + 1);
    const c = i + 2 < from ? 0 : sextetAt(text, i + 2);
    const d = sextetAt(text, i + 3);
    seen |= a | b | c | d;
    out[at] = (a << 2) | (b >> 4);
    out[at + 1] = (b << 4) | (c >> 2);
    out[at + 2] = (c << 6) | d;
    at += 3;
  }
  if (seen < 0) {
    throw new KelError('KEL_BAD_CODE', `${quote(text)} is not Base64url`);
  }
  return out;
}
