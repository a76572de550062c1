/**
 * Reads bytes from front to back, numbers big-endian; what is cut is the error of whoever reads. A length that a stranger announces is
 * compared with what is there before anything is made for it.
 */
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

  /** Bytes read so far. */
  get at(): number {
    return this.#at;
  }

  /** Bytes that are left. */
  get left(): number {
    return this.#bytes.length - this.#at;
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
    return new Uint8Array(this.view(length));
  }

  /** No copy: for secrets, and for what is only compared. */
  view(length: number): Uint8Array {
    const at = this.#skip(length);
    return this.#bytes.subarray(at, at + length);
  }

  /** Behind its length (u32). A copy. */
  field(): Uint8Array {
    return this.bytes(this.uint32());
  }

  /** All that is left, a copy. */
  rest(): Uint8Array {
    return this.bytes(this.left);
  }

  #skip(length: number): number {
    const at = this.#at;
    if (length > this.left) throw this.#error(`expected ${length} bytes more, got ${this.left}`);
    this.#at += length;
    return at;
  }
}
