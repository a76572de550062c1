/** Randomness that repeats: the ChaCha20 key stream (RFC 8439) under the SHA-256 of a seed. */
import { type Cipheriv, createCipheriv, createHash } from 'node:crypto';
import type { Rng } from '#src/rng';

const ZERO_NONCE = Buffer.alloc(16);

export class SeededRng implements Rng {
  readonly #key: Buffer;
  readonly #stream: Cipheriv;

  constructor(seed: string | number) {
    this.#key = createHash('sha256').update(String(seed)).digest();
    this.#stream = createCipheriv('chacha20', this.#key, ZERO_NONCE);
  }

  /** An independent stream: what is drawn here does not move what is drawn there. */
  fork(name: string): SeededRng {
    return new SeededRng(`${this.#key.toString('hex')}/${name}`);
  }

  bytes(length: number): Uint8Array {
    return new Uint8Array(this.#stream.update(Buffer.alloc(length)));
  }

  /** Uniform in [0, 1), 53 bits. */
  next(): number {
    const view = new DataView(this.bytes(8).buffer);
    return (view.getUint32(0) * 2 ** 21 + (view.getUint32(4) >>> 11)) / 2 ** 53;
  }

  /** Uniform in [0, n). */
  int(n: number): number {
    return Math.floor(this.next() * n);
  }

  pick<T>(items: readonly T[]): T {
    if (items.length === 0)
      throw new RangeError('expected at least one item to pick from, got none');
    return items[this.int(items.length)] as T;
  }

  /** A shuffled copy (Fisher-Yates). */
  shuffle<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.int(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }
}
