/** States right after the establishment events of one log, packed as text outside the JavaScript heap. */
import type { Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { PackedRows } from './packed-rows.ts';

/** Bytes of one slab; a state that is longer has one of its own. */
const SLAB_LENGTH = 64 * 1024;
const FIRST_SLAB_LENGTH = 512;
/** Sequence number, slab, offset and length of a state. */
const ROW_LENGTH = 8 + 3 * 4;

/** What changes from one establishment event to the next; a number for witnesses names the entry that lists them. */
type Packed = Pick<
  KeyState,
  | 'eventType'
  | 'kind'
  | 'keys'
  | 'signingThreshold'
  | 'nextDigests'
  | 'nextThreshold'
  | 'witnessThreshold'
> & { readonly witnesses: KeyState['witnesses'] | number };

export class EstablishmentList {
  readonly #rows = new PackedRows(ROW_LENGTH);
  readonly #slabs: Buffer[] = [];
  #used = 0;
  /** The list that the last entry has, and the entry that holds it. */
  #witnesses: { readonly list: KeyState['witnesses']; readonly entry: number } | undefined;

  /** @param state after an establishment event later than all before */
  push(state: KeyState): void {
    const { eventType, kind, keys, signingThreshold, nextDigests, nextThreshold } = state;
    const { witnesses, witnessThreshold, sn } = state;
    const entry = this.#rows.length;
    const isKnown = this.#witnesses?.list === witnesses;
    if (!isKnown) this.#witnesses = { list: witnesses, entry };
    const packed: Packed = {
      eventType,
      kind,
      keys,
      signingThreshold,
      nextDigests,
      nextThreshold,
      witnessThreshold,
      witnesses: isKnown ? (this.#witnesses?.entry ?? witnesses) : witnesses,
    };
    const text = JSON.stringify(packed);
    const length = Buffer.byteLength(text);
    const slab = this.#room(length);
    const row = this.#rows.append();
    row.writeDoubleBE(sn, 0);
    row.writeUInt32BE(this.#slabs.length - 1, 8);
    row.writeUInt32BE(this.#used, 12);
    row.writeUInt32BE(length, 16);
    slab.write(text, this.#used);
    this.#used += length;
  }

  get length(): number {
    return this.#rows.length;
  }

  snOf(entry: number): number {
    return this.#rows.row(entry).readDoubleBE(0);
  }

  /** The last entry at or before `sn`; −1 when there is none. */
  entryAt(sn: number): number {
    let [low, high] = [0, this.#rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.snOf(middle) <= sn) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /** @param said of that event  @param after any later state of the AID, for what never changes */
  state(entry: number, said: Said, after: KeyState): KeyState {
    const packed = this.#packed(entry);
    const sn = this.snOf(entry);
    return {
      ...after,
      ...packed,
      witnesses: this.#witnessesOf(packed),
      sn,
      said,
      establishment: { sn, said },
    };
  }

  /** Drops the entries from `sn` on. */
  truncate(sn: number): void {
    const length = this.entryAt(sn - 1) + 1;
    if (length === this.#rows.length) return;
    const row = this.#rows.row(length);
    this.#slabs.length = row.readUInt32BE(8) + 1;
    this.#used = row.readUInt32BE(12);
    this.#rows.truncate(length);
    this.#witnesses = undefined;
  }

  #packed(entry: number): Packed {
    const row = this.#rows.row(entry);
    const at = row.readUInt32BE(12);
    const slab = this.#slabs[row.readUInt32BE(8)] as Buffer;
    return JSON.parse(slab.toString('utf8', at, at + row.readUInt32BE(16))) as Packed;
  }

  #witnessesOf({ witnesses }: Packed): KeyState['witnesses'] {
    if (typeof witnesses !== 'number') return witnesses;
    return this.#packed(witnesses).witnesses as KeyState['witnesses'];
  }

  /** Slab with room for `length` bytes at `#used`. */
  #room(length: number): Buffer {
    const last = this.#slabs.at(-1);
    if (last !== undefined && this.#used + length <= last.length) return last;
    if (last !== undefined && last.length < SLAB_LENGTH && this.#slabs.length === 1) {
      const larger = Buffer.alloc(Math.min(SLAB_LENGTH, 4 * (last.length + length)));
      if (this.#used + length <= larger.length) {
        last.copy(larger);
        this.#slabs[0] = larger;
        return larger;
      }
    }
    const size = last === undefined ? FIRST_SLAB_LENGTH : SLAB_LENGTH;
    const slab = Buffer.alloc(Math.max(size, length));
    this.#slabs.push(slab);
    this.#used = 0;
    return slab;
  }
}
