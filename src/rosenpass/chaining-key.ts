/** The chaining key of a handshake: everything that both ends know and say goes into it, one after the other. */
import { open, seal } from './aead.ts';
import type { HashDomains } from './hash-domains.ts';
import { HASH_LENGTH } from './keyed-hash.ts';
import { wipe } from './wipe.ts';

const NOTHING = new Uint8Array(0);

export class ChainingKey implements Disposable {
  readonly #domains: HashDomains;
  #key: Uint8Array;

  /** @param key 32 bytes, copied */
  constructor(domains: HashDomains, key: Uint8Array) {
    if (key.length !== HASH_LENGTH) throw new RangeError('chaining key');
    this.#domains = domains;
    this.#key = key.slice();
  }

  copy(): ChainingKey {
    return new ChainingKey(this.#domains, this.#key);
  }

  /** A copy, for a biscuit; the caller wipes it. */
  expose(): Uint8Array {
    return this.#key.slice();
  }

  /** Takes each of `parts` in, in this order. */
  mix(...parts: readonly Uint8Array[]): void {
    const { hash, mix } = this.#domains;
    for (const part of parts) {
      const step = hash(this.#key, mix);
      const next = hash(step, part);
      wipe(step, this.#key);
      this.#key = next;
    }
  }

  /** Seals `plaintext` under a key that only this point of the handshake has, and takes the result in. @returns 16 bytes more */
  encryptAndMix(plaintext: Uint8Array = NOTHING): Uint8Array {
    const key = this.derive(this.#domains.handshakeEncryption);
    const sealed = seal(key, plaintext);
    wipe(key);
    this.mix(sealed);
    return sealed;
  }

  /** Inverse of {@link encryptAndMix}; undefined, and nothing is taken in, when the tag does not fit. */
  decryptAndMix(sealed: Uint8Array): Uint8Array | undefined {
    const key = this.derive(this.#domains.handshakeEncryption);
    const plaintext = open(key, sealed);
    wipe(key);
    if (plaintext !== undefined) this.mix(sealed);
    return plaintext;
  }

  /** A key of its own for the use that `node` names; the caller wipes it. @returns 32 bytes */
  derive(node: Uint8Array): Uint8Array {
    return this.#domains.hash(this.#key, node);
  }

  [Symbol.dispose](): void {
    wipe(this.#key);
  }
}
