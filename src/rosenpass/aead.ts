/**
 * ChaCha20-Poly1305 (RFC 8439) and XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03) as Rosenpass uses them: ciphertext ‖ tag, the long
 * nonce in front of it on the wire.
 */
import sodium from 'libsodium-wrappers';
import { concatBytes } from '#src/bytes';

await sodium.ready;

export const TAG_LENGTH = 16;
const NONCE_LENGTH = 12;
export const LONG_NONCE_LENGTH = 24;

/** @param key 32 bytes  @param counter below 2^64, little-endian at the front of the nonce */
export function seal(key: Uint8Array, plaintext: Uint8Array, counter = 0n): Uint8Array {
  return sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
    plaintext,
    null,
    null,
    nonceOf(counter),
    key,
  );
}

/** Inverse of {@link seal}; undefined when the tag does not fit. */
export function open(key: Uint8Array, sealed: Uint8Array, counter = 0n): Uint8Array | undefined {
  return attempt(() =>
    sodium.crypto_aead_chacha20poly1305_ietf_decrypt(null, sealed, null, nonceOf(counter), key),
  );
}

/** @param nonce 24 bytes, never twice under one key  @returns nonce ‖ ciphertext ‖ tag */
export function sealLong(
  key: Uint8Array,
  nonce: Uint8Array,
  plaintext: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array {
  return concatBytes(
    nonce,
    sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plaintext, associatedData, null, nonce, key),
  );
}

/** Inverse of {@link sealLong}; undefined when the tag does not fit. */
export function openLong(
  key: Uint8Array,
  sealed: Uint8Array,
  associatedData: Uint8Array,
): Uint8Array | undefined {
  return attempt(() =>
    sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(
      null,
      sealed.subarray(LONG_NONCE_LENGTH),
      associatedData,
      sealed.subarray(0, LONG_NONCE_LENGTH),
      key,
    ),
  );
}

function nonceOf(counter: bigint): Uint8Array {
  const nonce = new Uint8Array(NONCE_LENGTH);
  new DataView(nonce.buffer).setBigUint64(0, counter, true);
  return nonce;
}

/** The library throws for a tag that does not fit, and for nothing else that is given here. */
function attempt(decrypt: () => Uint8Array): Uint8Array | undefined {
  try {
    return decrypt();
  } catch {
    return undefined;
  }
}
