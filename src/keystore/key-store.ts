/**
 * Where private keys live: one interface from a sealed file to a hardware token.
 *
 * A signing key is generated inside the store and never leaves it. A derivation root is 256 bits that
 * never leave either: `prf` evaluates HKDF-Expand over HMAC-SHA-256 in the store (`prf_id` P1).
 */
import type { Brand } from '#src/brand';
import type { Secret } from '#src/secret';

/** 32 lower-case hex digits: the 16-byte CKA_ID of a key pair or root. */
export type KeyId = Brand<string, 'KeyId'>;

export type SigningAlgorithm = 'ed25519' | 'p256';

export interface SigningKey {
  readonly id: KeyId;
  readonly algorithm: SigningAlgorithm;
  /** Ed25519: 32 bytes; P-256: 33 bytes, compressed point. */
  readonly publicKey: Uint8Array;
}

export interface KeyStoreEntry {
  readonly id: KeyId;
  readonly kind: 'signing' | 'root';
  readonly algorithm?: SigningAlgorithm;
}

/** Where the keys are, in words for `status`. Never a PIN or a passphrase. */
export interface KeyStoreDescription {
  readonly driver: 'sealed-file' | 'pkcs11';
  /** File path, or token label and model. */
  readonly location: string;
}

export interface KeyStore {
  readonly description: KeyStoreDescription;
  /** Durable when it resolves. */
  generateSigningKey(algorithm?: SigningAlgorithm): Promise<SigningKey>;
  /** Throws KEYSTORE_NO_SUCH_KEY. */
  signingKey(id: KeyId): Promise<SigningKey>;
  /** @returns Ed25519: 64 bytes (RFC 8032); P-256: 64 bytes `r || s`, s low, over SHA-256 of the message. */
  sign(id: KeyId, message: Uint8Array): Promise<Uint8Array>;
  /** A fresh 256-bit derivation root; durable when it resolves. */
  generateRoot(): Promise<KeyId>;
  /** HKDF-Expand(root, info = label, length) of RFC 5869 with HMAC-SHA-256. @param length 1 to 8,160 bytes */
  prf(root: KeyId, label: Uint8Array, length: number): Promise<Secret>;
  /** Irreversible. Destroying what is not there is not an error. */
  destroy(id: KeyId): Promise<void>;
  list(): Promise<readonly KeyStoreEntry[]>;
  /**
   * Writes these keys into a new key store at `path`, which opens as this one does; durable when it resolves. Absent where
   * keys never leave the store. Throws KEYSTORE_NO_SUCH_KEY, KEYSTORE_EXISTS.
   */
  backUp?(ids: readonly KeyId[], path: string): Promise<void>;
  close(): Promise<void>;
}
