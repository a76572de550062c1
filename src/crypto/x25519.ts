/** X25519, RFC 7748. Private keys are taken as they are: clamping happens inside the function. */
import { createPrivateKey, createPublicKey, diffieHellman, type KeyObject } from 'node:crypto';
import { Secret } from '#src/secret';
import { CryptoError, expectLength } from './errors.ts';

const KEY_LENGTH = 32;

export interface X25519KeyPair {
  readonly privateKey: Secret;
  /** 32 bytes. */
  readonly publicKey: Uint8Array;
}

/** @param privateKey 32 uniform bytes, copied: the caller wipes its own copy */
export function x25519KeyPair(privateKey: Uint8Array): X25519KeyPair {
  return { privateKey: new Secret(privateKey), publicKey: x25519PublicKey(privateKey) };
}

/** @param privateKey 32 bytes  @returns 32 bytes  @throws CRYPTO_BAD_LENGTH */
export function x25519PublicKey(privateKey: Uint8Array): Uint8Array {
  return new Uint8Array(createPublicKey(privateKeyOf(privateKey)).export({ format: 'raw-public' }));
}

/**
 * @param privateKey 32 bytes  @param publicKey 32 bytes, the peer's
 * @returns 32 bytes, never all zero  @throws CRYPTO_BAD_LENGTH, CRYPTO_BAD_KEY for a point of small order (RFC 7748 6.1)
 */
export function x25519SharedSecret(privateKey: Uint8Array, publicKey: Uint8Array): Uint8Array {
  expectLength('X25519 public key', publicKey, KEY_LENGTH);
  const ours = privateKeyOf(privateKey);
  const theirs = createPublicKey({
    key: view(publicKey),
    format: 'raw-public',
    asymmetricKeyType: 'x25519',
  });
  let shared: Buffer;
  try {
    shared = diffieHellman({ privateKey: ours, publicKey: theirs });
  } catch (cause) {
    throw new CryptoError('CRYPTO_BAD_KEY', 'X25519 public key: a point of small order', { cause });
  }
  const out = new Uint8Array(shared);
  shared.fill(0);
  // OpenSSL refuses the all-zero output; this holds also where another library stands behind node:crypto.
  if (out.every((byte) => byte === 0))
    throw new CryptoError('CRYPTO_BAD_KEY', 'X25519 public key: a point of small order');
  return out;
}

function privateKeyOf(bytes: Uint8Array): KeyObject {
  expectLength('X25519 private key', bytes, KEY_LENGTH);
  return createPrivateKey({ key: view(bytes), format: 'raw-private', asymmetricKeyType: 'x25519' });
}

function view(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
