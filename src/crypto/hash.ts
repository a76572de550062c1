/** Hashes and the key derivation built on them: BLAKE3, SHA-256 (FIPS 180-4), HMAC (RFC 2104), HKDF (RFC 5869). */
import { createHash, createHmac } from 'node:crypto';
import { blake3 as nobleBlake3 } from '@noble/hashes/blake3.js';
import { BLAKE3_CHUNK_LENGTH, blake3Chunk, isLittleEndian } from './blake3-chunk.ts';
import { CryptoError } from './errors.ts';

/** Length of every digest here, in bytes. */
const DIGEST_LENGTH = 32;

/** Longest output of HKDF-Expand with SHA-256: 255 blocks (RFC 5869 2.3). */
export const HKDF_MAX_LENGTH = 255 * DIGEST_LENGTH;

/** @returns 32 bytes */
export function blake3(bytes: Uint8Array): Uint8Array {
  return isLittleEndian && bytes.length <= BLAKE3_CHUNK_LENGTH
    ? blake3Chunk(bytes)
    : nobleBlake3(bytes);
}

/** @returns 32 bytes */
export function sha256(bytes: Uint8Array): Uint8Array {
  return unpooled(createHash('sha256').update(bytes).digest());
}

/** @returns 32 bytes */
export function hmacSha256(key: Uint8Array, message: Uint8Array): Uint8Array {
  return unpooled(createHmac('sha256', key).update(message).digest());
}

/** RFC 5869 2.2. @returns the 32-byte pseudorandom key */
export function hkdfExtract(salt: Uint8Array, ikm: Uint8Array): Uint8Array {
  return hmacSha256(salt, ikm);
}

/**
 * RFC 5869 2.3.
 * @param prk at least 32 bytes  @param length 1 to 8,160 bytes
 * @throws CRYPTO_BAD_LENGTH
 */
export function hkdfExpand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
  if (prk.length < DIGEST_LENGTH) {
    throw new CryptoError(
      'CRYPTO_BAD_LENGTH',
      `HKDF key: expected at least ${DIGEST_LENGTH} bytes, got ${prk.length}`,
    );
  }
  if (!Number.isInteger(length) || length < 1 || length > HKDF_MAX_LENGTH) {
    throw new CryptoError(
      'CRYPTO_BAD_LENGTH',
      `HKDF output: expected 1 to ${HKDF_MAX_LENGTH} bytes, got ${length}`,
    );
  }
  const out = new Uint8Array(length);
  let block = new Uint8Array(0);
  for (let at = 0, counter = 1; at < length; at += DIGEST_LENGTH, counter++) {
    const digest = createHmac('sha256', prk)
      .update(block)
      .update(info)
      .update(Uint8Array.of(counter))
      .digest();
    block.fill(0);
    block = unpooled(digest);
    out.set(block.subarray(0, length - at), at);
  }
  block.fill(0);
  return out;
}

/** A plain Uint8Array of its own: a Buffer changes meaning of `slice` and of `toJSON`. Wipes `digest`. */
function unpooled(digest: Buffer): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(digest);
  digest.fill(0);
  return out;
}
