/**
 * Secret bytes that do not print.
 *
 * The bytes live in memory of their own: neither in the shared pool of buffers nor, as short arrays otherwise do, in the engine's
 * heap, where the garbage collector moves them and leaves a copy at each former place. They are filled with zeros on dispose.
 * That is best effort: copies that the engine or a library made may survive.
 */
import { timingSafeEqual } from 'node:crypto';
import { inspect } from 'node:util';

/** Bytes that are never moved, for a secret on its way; whoever asks for them wipes them. */
export function secretBytes(length: number): Buffer {
  return Buffer.from(new ArrayBuffer(length));
}

export class Secret implements Disposable {
  readonly #bytes: Uint8Array;

  /** Copies `bytes`; the caller wipes its own copy. */
  constructor(bytes: Uint8Array) {
    this.#bytes = secretBytes(bytes.length);
    this.#bytes.set(bytes);
  }

  /** Takes `bytes` into a secret and fills the original with zeros. */
  static take(bytes: Uint8Array): Secret {
    const secret = new Secret(bytes);
    bytes.fill(0);
    return secret;
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The live bytes, not a copy: never keep, log or encode them. */
  expose(): Uint8Array {
    return this.#bytes;
  }

  equals(other: Secret): boolean {
    return this.length === other.length && timingSafeEqual(this.#bytes, other.#bytes);
  }

  [Symbol.dispose](): void {
    this.#bytes.fill(0);
  }

  toJSON(): string {
    return '[secret]';
  }

  toString(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
