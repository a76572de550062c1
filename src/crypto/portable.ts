/** The portable suite: Ed25519 of libsodium compiled to WebAssembly, ML-KEM-1024 in JavaScript. */
import { ml_kem1024 } from '@noble/post-quantum/ml-kem.js';
import sodium from 'libsodium-wrappers';
import { CryptoError, expectLength } from './errors.ts';
import {
  ED25519_PUBLIC_KEY_LENGTH,
  ED25519_SEED_LENGTH,
  ED25519_SIGNATURE_LENGTH,
  ML_KEM_1024_CIPHERTEXT_LENGTH,
  ML_KEM_1024_PUBLIC_KEY_LENGTH,
  ML_KEM_1024_SEED_LENGTH,
} from './lengths.ts';
import type { CryptoSuite, Ed25519, MlKem1024 } from './suite.ts';

export async function createPortableSuite(): Promise<CryptoSuite> {
  await sodium.ready;
  return { name: 'portable', ed25519, mlKem1024 };
}

const ed25519: Ed25519 = {
  publicKey(seed) {
    expectLength('Ed25519 seed', seed, ED25519_SEED_LENGTH);
    const pair = sodium.crypto_sign_seed_keypair(seed);
    pair.privateKey.fill(0);
    return pair.publicKey;
  },
  sign(message, seed) {
    expectLength('Ed25519 seed', seed, ED25519_SEED_LENGTH);
    const pair = sodium.crypto_sign_seed_keypair(seed);
    try {
      return sodium.crypto_sign_detached(message, pair.privateKey);
    } finally {
      pair.privateKey.fill(0);
    }
  },
  verify(signature, message, publicKey) {
    if (
      signature.length !== ED25519_SIGNATURE_LENGTH ||
      publicKey.length !== ED25519_PUBLIC_KEY_LENGTH
    )
      return false;
    return sodium.crypto_sign_verify_detached(signature, message, publicKey);
  },
};

const mlKem1024: MlKem1024 = {
  publicKey(seed) {
    expectLength('ML-KEM-1024 seed', seed, ML_KEM_1024_SEED_LENGTH);
    const pair = ml_kem1024.keygen(seed);
    pair.secretKey.fill(0);
    return pair.publicKey;
  },
  encapsulate(publicKey) {
    if (publicKey.length !== ML_KEM_1024_PUBLIC_KEY_LENGTH) {
      throw new CryptoError(
        'CRYPTO_BAD_KEY',
        `ML-KEM-1024 encapsulation key: expected ${ML_KEM_1024_PUBLIC_KEY_LENGTH} bytes, got ${publicKey.length}`,
      );
    }
    try {
      const { cipherText, sharedSecret } = ml_kem1024.encapsulate(publicKey);
      return { ciphertext: cipherText, sharedSecret };
    } catch (cause) {
      throw new CryptoError(
        'CRYPTO_BAD_KEY',
        'ML-KEM-1024 encapsulation key: a coefficient is not below 3,329',
        { cause },
      );
    }
  },
  decapsulate(ciphertext, seed) {
    expectLength('ML-KEM-1024 ciphertext', ciphertext, ML_KEM_1024_CIPHERTEXT_LENGTH);
    expectLength('ML-KEM-1024 seed', seed, ML_KEM_1024_SEED_LENGTH);
    const { secretKey } = ml_kem1024.keygen(seed);
    try {
      return ml_kem1024.decapsulate(ciphertext, secretKey);
    } finally {
      secretKey.fill(0);
    }
  },
};
