/** SAIDs by sequence number, 33 bytes each: the binary form of a 256-bit digest with its code. */
import type { Said } from '#kel/identifiers';
import { PackedRows } from './packed-rows.ts';

const TEXT_LENGTH = 44;
const BINARY_LENGTH = 33;

export class SaidList {
  readonly #rows = new PackedRows(BINARY_LENGTH);
  /** Digests of 512 bits, which nearly no log has. */
  readonly #long = new Map<number, Said>();

  get length(): number {
    return this.#rows.length;
  }

  push(said: Said): void {
    const index = this.#rows.length;
    const row = this.#rows.append();
    if (said.length === TEXT_LENGTH) row.write(said, 0, 'base64url');
    else this.#long.set(index, said);
  }

  at(index: number): Said | undefined {
    if (!(index >= 0 && index < this.#rows.length)) return undefined;
    return this.#long.get(index) ?? (this.#rows.row(index).toString('base64url') as Said);
  }

  truncate(length: number): void {
    this.#rows.truncate(length);
    for (const index of this.#long.keys()) if (index >= length) this.#long.delete(index);
  }
}
