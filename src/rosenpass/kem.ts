/** The two key encapsulation mechanisms of an exchange, as the handshake sees them. */

export interface Encapsulation {
  readonly ciphertext: Uint8Array;
  /** 32 bytes; whoever asked for it wipes it. */
  readonly sharedSecret: Uint8Array;
}

/** The own long-term key, and encapsulation to those of others: Classic McEliece 460896. */
export interface StaticKem extends Disposable {
  /** Bytes; it decides the length of two messages. */
  readonly ciphertextLength: number;
  /** @param publicKey 524,160 bytes  @throws ROSENPASS_BAD_KEY */
  encapsulate(publicKey: Uint8Array): Encapsulation;
  /** @returns 32 bytes, which the caller wipes; for a ciphertext that is none, a secret that nobody knows */
  decapsulate(ciphertext: Uint8Array): Uint8Array;
}

/** A key pair of one handshake; its secret half never leaves it. */
export interface EphemeralKey extends Disposable {
  /** 800 bytes */
  readonly publicKey: Uint8Array;
  /** @param ciphertext 768 bytes  @returns 32 bytes, which the caller wipes */
  decapsulate(ciphertext: Uint8Array): Uint8Array;
}

/** Kyber512 of round 3. */
export interface EphemeralKem {
  generate(): EphemeralKey;
  /** @param publicKey 800 bytes  @returns undefined for bytes that are no key */
  encapsulate(publicKey: Uint8Array): Encapsulation | undefined;
}
