/** 32 bytes of a secret in base64 (RFC 4648), as `wg` reads and prints keys: from bytes to bytes, since a string cannot be wiped. */
import { Secret, secretBytes } from '#src/secret';

const ALPHABET = Buffer.from(
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/',
  'latin1',
);
const PAD = 0x3d;
const SECRET_LENGTH = 32;
/** Characters. */
const BASE64_SECRET_LENGTH = 44;

/** @param secret 32 bytes  @returns 44 characters, ASCII, which the caller wipes */
export function encodeBase64Secret(secret: Secret): Buffer {
  const bytes = secret.expose();
  if (bytes.length !== SECRET_LENGTH)
    throw new RangeError(`expected ${SECRET_LENGTH} bytes, got ${bytes.length}`);
  const out = secretBytes(BASE64_SECRET_LENGTH);
  for (let i = 0; i < BASE64_SECRET_LENGTH - 1; i++)
    out[i] = ALPHABET[sextetAt(bytes, i)] as number;
  out[BASE64_SECRET_LENGTH - 1] = PAD;
  return out;
}

function sextetAt(bytes: Uint8Array, i: number): number {
  const bit = 6 * i;
  const pair = ((bytes[bit >> 3] ?? 0) << 8) | (bytes[(bit >> 3) + 1] ?? 0);
  return (pair >> (10 - (bit & 7))) & 63;
}

/** Inverse of {@link encodeBase64Secret}; undefined for anything else, unused bits that are set included. */
export function decodeBase64Secret(text: Uint8Array): Secret | undefined {
  if (text.length !== BASE64_SECRET_LENGTH || text[BASE64_SECRET_LENGTH - 1] !== PAD)
    return undefined;
  const bytes = secretBytes(SECRET_LENGTH);
  let [bits, held, at] = [0, 0, 0];
  let isValid = true;
  for (const character of text.subarray(0, -1)) {
    const sextet = ALPHABET.indexOf(character);
    isValid &&= sextet >= 0;
    held = ((held << 6) | sextet) & 0xfff;
    bits += 6;
    if (bits >= 8) {
      bits -= 8;
      bytes[at++] = held >> bits;
    }
  }
  const secret = Secret.take(bytes);
  // 43 characters carry two bits more than 32 bytes.
  if (isValid && (held & 3) === 0) return secret;
  secret[Symbol.dispose]();
  return undefined;
}
