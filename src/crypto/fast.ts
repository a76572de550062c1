/** The fast suite: Ed25519 of sodium-native, ML-KEM-1024 of node:crypto (OpenSSL 3.5). */
import {
  createPrivateKey,
  createPublicKey,
  decapsulate,
  encapsulate,
  type KeyObject,
} from 'node:crypto';
import sodium from 'sodium-native';
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

/** Throws when a native part is missing, so that the caller can fall back before anything depends on it. */
export function createFastSuite(): CryptoSuite {
  const seed = new Uint8Array(ML_KEM_1024_SEED_LENGTH);
  mlKem1024.publicKey(seed);
  ed25519.publicKey(seed.subarray(0, ED25519_SEED_LENGTH));
  return { name: 'fast', ed25519, mlKem1024 };
}

const ed25519: Ed25519 = {
  publicKey(seed) {
    const { publicKey, secretKey } = keyPair(seed);
    secretKey.fill(0);
    return new Uint8Array(publicKey);
  },
  sign(message, seed) {
    const { secretKey } = keyPair(seed);
    try {
      const signature = Buffer.alloc(ED25519_SIGNATURE_LENGTH);
      sodium.crypto_sign_detached(signature, view(message), secretKey);
      return new Uint8Array(signature);
    } finally {
      secretKey.fill(0);
    }
  },
  verify(signature, message, publicKey) {
    if (
      signature.length !== ED25519_SIGNATURE_LENGTH ||
      publicKey.length !== ED25519_PUBLIC_KEY_LENGTH
    )
      return false;
    // Takes any byte array, whatever its types say: no views here, where logs spend their time.
    return sodium.crypto_sign_verify_detached(
      signature as Buffer,
      message as Buffer,
      publicKey as Buffer,
    );
  },
};

function keyPair(seed: Uint8Array): { readonly publicKey: Buffer; readonly secretKey: Buffer } {
  expectLength('Ed25519 seed', seed, ED25519_SEED_LENGTH);
  const publicKey = Buffer.alloc(ED25519_PUBLIC_KEY_LENGTH);
  const secretKey = Buffer.alloc(ED25519_SEED_LENGTH + ED25519_PUBLIC_KEY_LENGTH);
  sodium.crypto_sign_seed_keypair(publicKey, secretKey, view(seed));
  return { publicKey, secretKey };
}

const mlKem1024: MlKem1024 = {
  publicKey(seed) {
    return new Uint8Array(createPublicKey(decapsulationKey(seed)).export({ format: 'raw-public' }));
  },
  encapsulate(publicKey) {
    const { ciphertext, sharedKey } = encapsulate(encapsulationKey(publicKey));
    return { ciphertext: new Uint8Array(ciphertext), sharedSecret: moved(sharedKey) };
  },
  decapsulate(ciphertext, seed) {
    expectLength('ML-KEM-1024 ciphertext', ciphertext, ML_KEM_1024_CIPHERTEXT_LENGTH);
    return moved(decapsulate(decapsulationKey(seed), ciphertext));
  },
};

function decapsulationKey(seed: Uint8Array): KeyObject {
  expectLength('ML-KEM-1024 seed', seed, ML_KEM_1024_SEED_LENGTH);
  return createPrivateKey({
    key: view(seed),
    format: 'raw-seed',
    asymmetricKeyType: 'ml-kem-1024',
  });
}

function encapsulationKey(publicKey: Uint8Array): KeyObject {
  if (publicKey.length !== ML_KEM_1024_PUBLIC_KEY_LENGTH) {
    throw new CryptoError(
      'CRYPTO_BAD_KEY',
      `ML-KEM-1024 encapsulation key: expected ${ML_KEM_1024_PUBLIC_KEY_LENGTH} bytes, got ${publicKey.length}`,
    );
  }
  try {
    return createPublicKey({
      key: view(publicKey),
      format: 'raw-public',
      asymmetricKeyType: 'ml-kem-1024',
    });
  } catch (cause) {
    throw new CryptoError(
      'CRYPTO_BAD_KEY',
      'ML-KEM-1024 encapsulation key: a coefficient is not below 3,329',
      { cause },
    );
  }
}

/** The same memory as a Buffer, which both libraries' types ask for. */
function view(bytes: Uint8Array): Buffer {
  if (Buffer.isBuffer(bytes)) return bytes;
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function moved(buffer: Buffer): Uint8Array {
  const out = new Uint8Array(buffer);
  buffer.fill(0);
  return out;
}
