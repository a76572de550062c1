/** Rows of equal length outside the JavaScript heap, so that a log of a million events costs the collector nothing. */

/** Rows per chunk; the first chunk grows up to it, so that a short log stays small. */
const CHUNK_ROWS = 4096;
const FIRST_ROWS = 2;

export class PackedRows {
  readonly #rowLength: number;
  readonly #chunks: Buffer[] = [];
  #length = 0;

  /** @param rowLength bytes */
  constructor(rowLength: number) {
    this.#rowLength = rowLength;
  }

  get length(): number {
    return this.#length;
  }

  /** A new row at the end, to be filled. */
  append(): Buffer {
    const index = this.#length++;
    const place = index % CHUNK_ROWS;
    const chunk = this.#chunks.at(-1);
    if (place === 0) this.#chunks.push(this.#chunk(index === 0 ? FIRST_ROWS : CHUNK_ROWS));
    else if (chunk !== undefined && chunk.length === place * this.#rowLength) {
      const larger = this.#chunk(Math.min(2 * place, CHUNK_ROWS));
      chunk.copy(larger);
      this.#chunks[this.#chunks.length - 1] = larger;
    }
    return this.row(index);
  }

  /** @param index below `length` */
  row(index: number): Buffer {
    const at = (index % CHUNK_ROWS) * this.#rowLength;
    const chunk = this.#chunks[Math.floor(index / CHUNK_ROWS)] as Buffer;
    return chunk.subarray(at, at + this.#rowLength);
  }

  /** Drops the rows from `length` on. */
  truncate(length: number): void {
    this.#length = length;
    this.#chunks.length = Math.ceil(length / CHUNK_ROWS);
  }

  #chunk(rows: number): Buffer {
    return Buffer.alloc(rows * this.#rowLength);
  }
}
