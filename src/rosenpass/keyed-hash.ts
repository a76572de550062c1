/**
 * The keyed hashes of Rosenpass: H(key, data) of 32 bytes each.
 *
 *   V02   B(key ⊕ 0x5c…, B(key ⊕ 0x36…, data)), B = BLAKE2b (RFC 7693) with a key of 32 bytes and as long a digest. Not RFC 2104:
 *         the pads are as long as the key.
 *   V03   SHAKE256(key ‖ data) (FIPS 202)
 */
import { createHash } from 'node:crypto';
import sodium from 'libsodium-wrappers';
import { wipe } from './wipe.ts';

await sodium.ready;

/** Bytes of every key, digest and chaining key. */
export const HASH_LENGTH = 32;

/** As the configuration names the two; V02 is what released versions speak. */
export type RosenpassVersion = 'V02' | 'V03';

/** @param key 32 bytes  @returns 32 bytes, which the caller wipes where they are secret */
export type KeyedHash = (key: Uint8Array, data: Uint8Array) => Uint8Array;

/** @returns 32 bytes */
export function shake256(...parts: readonly Uint8Array[]): Uint8Array {
  const hash = createHash('shake256', { outputLength: HASH_LENGTH });
  for (const part of parts) hash.update(part);
  const digest = hash.digest();
  const out = new Uint8Array(digest);
  digest.fill(0);
  return out;
}

export const keyedHashes: Readonly<Record<RosenpassVersion, KeyedHash>> = {
  V02(key, data) {
    const inner = padded(key, 0x36);
    const outer = padded(key, 0x5c);
    const digest = sodium.crypto_generichash(HASH_LENGTH, data, inner);
    const out = sodium.crypto_generichash(HASH_LENGTH, digest, outer);
    wipe(inner, outer, digest);
    return out;
  },
  V03: (key, data) => shake256(key, data),
};

function padded(key: Uint8Array, pad: number): Uint8Array {
  if (key.length !== HASH_LENGTH)
    throw new RangeError(`hash key: expected ${HASH_LENGTH} bytes, got ${key.length}`);
  return key.map((byte) => byte ^ pad);
}
