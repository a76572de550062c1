/**
 * Sealing data at rest: XChaCha20-Poly1305 with a random nonce.
 *
 * sealed = version (1 byte, 1) || nonce (24 bytes) || ciphertext || tag (16 bytes)
 *
 * The version byte is authenticated with the associated data. A 192-bit random nonce does not repeat in
 * any number of messages that one key will ever seal.
 */
import sodium from 'libsodium-wrappers';
import { concatBytes } from '#src/bytes';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { CryptoError, expectLength } from './errors.ts';

await sodium.ready;

const VERSION = 1;
const KEY_LENGTH = 32;
const NONCE_LENGTH = 24;
const TAG_LENGTH = 16;

/** What sealing adds to a plaintext, in bytes. */
export const SEAL_OVERHEAD = 1 + NONCE_LENGTH + TAG_LENGTH;

/**
 * @param key 32 bytes  @param associatedData bound to the result, not stored in it: say what and where this is
 * @returns `SEAL_OVERHEAD` bytes more than the plaintext  @throws CRYPTO_BAD_LENGTH
 */
export function seal(
  key: Secret,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
  rng: Rng,
): Uint8Array {
  expectLength('sealing key', key.expose(), KEY_LENGTH);
  const nonce = rng.bytes(NONCE_LENGTH);
  const bound = concatBytes(Uint8Array.of(VERSION), associatedData);
  const body = sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(
    plaintext,
    bound,
    null,
    nonce,
    key.expose(),
  );
  return concatBytes(Uint8Array.of(VERSION), nonce, body);
}

/** Inverse of {@link seal}; the caller wipes the plaintext where it is secret. @throws CRYPTO_BAD_LENGTH, CRYPTO_UNSEAL_FAILED */
export function open(key: Secret, sealed: Uint8Array, associatedData: Uint8Array): Uint8Array {
  expectLength('sealing key', key.expose(), KEY_LENGTH);
  if (sealed.length < SEAL_OVERHEAD) {
    throw new CryptoError(
      'CRYPTO_UNSEAL_FAILED',
      `sealed data: expected at least ${SEAL_OVERHEAD} bytes, got ${sealed.length}`,
    );
  }
  if (sealed[0] !== VERSION) {
    throw new CryptoError(
      'CRYPTO_UNSEAL_FAILED',
      `sealed data: expected version ${VERSION}, got ${sealed[0]}`,
    );
  }
  const nonce = sealed.subarray(1, 1 + NONCE_LENGTH);
  const bound = concatBytes(Uint8Array.of(VERSION), associatedData);
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      null,
      sealed.subarray(1 + NONCE_LENGTH),
      bound,
      nonce,
      key.expose(),
    );
  } catch (cause) {
    throw new CryptoError(
      'CRYPTO_UNSEAL_FAILED',
      'sealed data: the authentication tag does not fit key, place and content',
      { cause },
    );
  }
}
