/**
 * Whole messages on a byte stream: each is its length as 4 bytes, big-endian, and then its bytes.
 *
 * A fixed prefix, not libp2p's varint: one encoding per length, so nothing needs a canonicity check.
 */
import { concatBytes, uint32be } from '#src/bytes';
import { messageTooLarge } from './errors.ts';

const PREFIX_LENGTH = 4;

/** Allocated at first for a message that is longer; from there the buffer doubles as bytes arrive. */
const FIRST_BUFFER = 16_384;

/** Both in bytes. */
export type TooLarge = (length: number, max: number) => Error;

const receivedTooLarge: TooLarge = (length, max) =>
  messageTooLarge('received message', length, max);

/** One frame; copies `message`, so that the caller may reuse its buffer. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  return concatBytes(uint32be(message.length), message);
}

/** Cuts a byte stream into messages; holds at most one incomplete message, and memory only for what came of it. */
export class FrameDecoder {
  readonly #maxMessage: () => number;
  readonly #tooLarge: TooLarge;
  readonly #prefix = new Uint8Array(PREFIX_LENGTH);
  #prefixFilled = 0;
  #buffer = new Uint8Array(0);
  #filled = 0;
  #length = 0;

  /** @param maxMessage bytes; asked when a message begins  @param tooLarge makes the error of whoever reads the stream */
  constructor(maxMessage: () => number, tooLarge: TooLarge = receivedTooLarge) {
    this.#maxMessage = maxMessage;
    this.#tooLarge = tooLarge;
  }

  /** True between frames; at the end of the stream anything else is a truncation. */
  get atBoundary(): boolean {
    return this.#prefixFilled === 0;
  }

  /**
   * The messages that `chunk` completes; `chunk` is copied.
   * @throws what `tooLarge` makes (NETWORK_MESSAGE_TOO_LARGE) as soon as the prefix says so, before anything is allocated
   */
  push(chunk: Uint8Array): Uint8Array[] {
    const complete: Uint8Array[] = [];
    let at = 0;
    while (at < chunk.length) {
      const rest = chunk.subarray(at);
      at += this.#prefixFilled < PREFIX_LENGTH ? this.#fillPrefix(rest) : this.#fillMessage(rest);
      if (this.#prefixFilled === PREFIX_LENGTH && this.#filled === this.#length) {
        complete.push(this.#buffer);
        this.#buffer = new Uint8Array(0);
        this.#filled = 0;
        this.#prefixFilled = 0;
      }
    }
    return complete;
  }

  /** @returns the number of bytes taken */
  #fillPrefix(bytes: Uint8Array): number {
    const part = bytes.subarray(0, PREFIX_LENGTH - this.#prefixFilled);
    this.#prefix.set(part, this.#prefixFilled);
    this.#prefixFilled += part.length;
    if (this.#prefixFilled === PREFIX_LENGTH) {
      this.#length = new DataView(this.#prefix.buffer).getUint32(0);
      const max = this.#maxMessage();
      if (this.#length > max) throw this.#tooLarge(this.#length, max);
    }
    return part.length;
  }

  /** @returns the number of bytes taken */
  #fillMessage(bytes: Uint8Array): number {
    const part = bytes.subarray(0, this.#length - this.#filled);
    const needed = this.#filled + part.length;
    if (needed > this.#buffer.length) {
      const doubled = Math.max(needed, FIRST_BUFFER, this.#buffer.length * 2);
      const larger = new Uint8Array(Math.min(this.#length, doubled));
      larger.set(this.#buffer);
      this.#buffer = larger;
    }
    this.#buffer.set(part, this.#filled);
    this.#filled = needed;
    return part.length;
  }
}
