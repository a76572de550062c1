/**
 * The primitives that have two implementations, and the interface both serve.
 *
 * `fast` uses sodium-native and node:crypto, `portable` libsodium-wrappers and @noble/post-quantum. They
 * are the same algorithms: one contract suite runs against both (`test/contract/crypto-suite.test.ts`).
 */

/** Ed25519, RFC 8032; `verify` refuses small-order keys and non-canonical encodings as libsodium does. */
export interface Ed25519 {
  /** @param seed 32 bytes  @returns the 32-byte public key */
  publicKey(seed: Uint8Array): Uint8Array;
  /** @returns the 64-byte signature */
  sign(message: Uint8Array, seed: Uint8Array): Uint8Array;
  /** False for any signature that is not exactly 64 valid bytes or key that is not 32; never throws. */
  verify(signature: Uint8Array, message: Uint8Array, publicKey: Uint8Array): boolean;
}

/** ML-KEM-1024, FIPS 203. */
export interface MlKem1024 {
  /** @param seed the 64-byte `d || z` of FIPS 203 7.1  @returns the 1,568-byte encapsulation key */
  publicKey(seed: Uint8Array): Uint8Array;
  /** @param publicKey 1,568 bytes, validated  @returns 1,568-byte ciphertext and 32-byte shared secret; throws CRYPTO_BAD_KEY */
  encapsulate(publicKey: Uint8Array): {
    readonly ciphertext: Uint8Array;
    readonly sharedSecret: Uint8Array;
  };
  /** @returns 32 bytes; a wrong ciphertext of the right length gives the implicit-rejection secret (FIPS 203 6.3) */
  decapsulate(ciphertext: Uint8Array, seed: Uint8Array): Uint8Array;
}

export interface CryptoSuite {
  readonly name: 'fast' | 'portable';
  readonly ed25519: Ed25519;
  readonly mlKem1024: MlKem1024;
}
