/**
 * Base64url without padding (RFC 4648 section 5), strict: the alphabet of CESR.
 * Node's own decoder skips foreign characters and takes `+` and `/`, so it cannot serve here.
 */
import { KelError } from '#kel/errors';

const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** By UTF-16 code unit, so that every character has an entry; −1 for those that are not of the alphabet. */
const VALUES = new Int8Array(2 ** 16).fill(-1);
for (let i = 0; i < ALPHABET.length; i++) VALUES[ALPHABET.charCodeAt(i)] = i;

/** @returns 0 to 63, or −1 when the character at `at` is missing or not of the alphabet */
function sextetAt(text: string, at: number): number {
  return at < text.length ? (VALUES[text.charCodeAt(at)] as number) : -1;
}

/**
 * Bytes of the text that stands at `from` to `to` within `text`, a multiple of 4 characters, with its first `head`
 * characters read as zeros and whole quadlets of them left out. As {@link decodeBase64}, without a string between.
 * @returns undefined for a foreign character
 */
export function decodeBase64At(
  text: Uint8Array,
  from: number,
  to: number,
  head: number,
): Uint8Array | undefined {
  const start = from + head - (head % 4);
  const out = new Uint8Array(((to - start) / 4) * 3);
  let seen = 0;
  let at = 0;
  for (let i = start; i < to; i += 4) {
    let a = VALUES[text[i] as number] as number;
    let b = VALUES[text[i + 1] as number] as number;
    let c = VALUES[text[i + 2] as number] as number;
    const d = VALUES[text[i + 3] as number] as number;
    if (i === start) {
      if (head % 4 > 0) a = 0;
      if (head % 4 > 1) b = 0;
      if (head % 4 > 2) c = 0;
    }
    seen |= a | b | c | d;
    out[at] = (a << 2) | (b >> 4);
    out[at + 1] = (b << 4) | (c >> 2);
    out[at + 2] = (c << 6) | d;
    at += 3;
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
    throw new KelError('KEL_BAD_CODE', `${JSON.stringify(text.slice(0, 100))} is not Base64url`);
  }
  return out;
}
