/**
 * Kyber512 of round 3 from ML-KEM-512 (FIPS 203) of OpenSSL: keys and ciphertexts are the same bytes, and Kyber's secret is
 * SHAKE256(K ‖ SHA3-256(ciphertext)) of ML-KEM's K. They differ in what a ciphertext that is none decapsulates to, which nobody sees:
 * the field that is sealed next does not open.
 */
import {
  createHash,
  createPublicKey,
  decapsulate,
  encapsulate,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import type { EphemeralKem, EphemeralKey } from './kem.ts';
import { shake256 } from './keyed-hash.ts';

const ALGORITHM = 'ml-kem-512';

export const kyber512: EphemeralKem = {
  generate() {
    const { publicKey, privateKey } = generateKeyPairSync(ALGORITHM);
    return ephemeralKey(publicKey, privateKey);
  },
  encapsulate(publicKey) {
    const key = importPublic(publicKey);
    if (key === undefined) return undefined;
    const { ciphertext, sharedKey } = encapsulate(key);
    return {
      ciphertext: new Uint8Array(ciphertext),
      sharedSecret: kyberSecret(sharedKey, ciphertext),
    };
  },
};

/** @param shared K of ML-KEM-512, 32 bytes, wiped  @param ciphertext 768 bytes  @returns the secret of Kyber512, 32 bytes */
export function kyberSecret(shared: Uint8Array, ciphertext: Uint8Array): Uint8Array {
  const secret = shake256(shared, createHash('sha3-256').update(ciphertext).digest());
  shared.fill(0);
  return secret;
}

function ephemeralKey(publicKey: KeyObject, privateKey: KeyObject): EphemeralKey {
  let held: KeyObject | undefined = privateKey;
  return {
    publicKey: new Uint8Array(publicKey.export({ format: 'raw-public' })),
    decapsulate(ciphertext) {
      if (held === undefined) throw new TypeError('the key was given up');
      return kyberSecret(decapsulate(held, ciphertext), ciphertext);
    },
    // OpenSSL wipes the key when it is collected.
    [Symbol.dispose]() {
      held = undefined;
    },
  };
}

/** A coefficient that is not reduced is refused, where Kyber would take it: no honest end sends one. */
function importPublic(bytes: Uint8Array): KeyObject | undefined {
  try {
    return createPublicKey({
      key: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
      format: 'raw-public',
      asymmetricKeyType: ALGORITHM,
    });
  } catch {
    return undefined;
  }
}
