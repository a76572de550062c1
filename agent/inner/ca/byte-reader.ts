/** Reads bytes from front to back; what is cut is an error. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #error: (reason: string) => Error;
  #at = 0;

  /** @param error what to throw */
  constructor(bytes: Uint8Array, error: (reason: string) => Error) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#error = error;
  }

  uint8(): number {
    return this.#view.getUint8(this.#skip(1));
  }

  uint16(): number {
    return this.#view.getUint16(this.#skip(2));
  }

  uint32(): number {
    return this.#view.getUint32(this.#skip(4));
  }

  uint64(): bigint {
    return this.#view.getBigUint64(this.#skip(8));
  }

  /** A copy. */
  bytes(length: number): Uint8Array {
    const at = this.#skip(length);
    return Uint8Array.prototype.slice.call(this.#bytes, at, at + length);
  }

  /** Behind its length (u32). A copy. */
  field(): Uint8Array {
    return this.bytes(this.uint32());
  }

  /** All that is left, a copy. */
  rest(): Uint8Array {
    return this.bytes(this.#bytes.length - this.#at);
  }

  #skip(length: number): number {
    const at = this.#at;
    if (length > this.#bytes.length - at)
      throw this.#error(`expected ${length} bytes more, got ${this.#bytes.length - at}`);
    this.#at += length;
    return at;
  }
}
