/** Which event of a log sealed a digest first: an open hash table outside the JavaScript heap. */
import { utf8 } from '#src/bytes';
import { blake3 } from '#src/crypto/hash';
import { PackedRows } from './packed-rows.ts';

const FINGERPRINT_LENGTH = 32;
/** Fingerprint, sequence number, position of the seal in its event. */
const ROW_LENGTH = FINGERPRINT_LENGTH + 8 + 4;
const FIRST_SLOTS = 16;

export interface SealPlace {
  readonly sn: number;
  readonly sealIndex: number;
}

export class SealIndex {
  readonly #rows = new PackedRows(ROW_LENGTH);
  /** Number of the row and one; 0 is empty. Half of them at most are taken. */
  #slots = new Uint32Array(FIRST_SLOTS);

  /** Does nothing when the seal is known. @param sn not below that of earlier calls */
  add(seal: string, { sn, sealIndex }: SealPlace): void {
    const fingerprint = blake3(utf8(seal));
    const slot = this.#slotOf(fingerprint);
    if (this.#slots[slot] !== 0) return;
    const row = this.#rows.append();
    row.set(fingerprint);
    row.writeDoubleBE(sn, FINGERPRINT_LENGTH);
    row.writeUInt32BE(sealIndex, FINGERPRINT_LENGTH + 8);
    this.#slots[slot] = this.#rows.length;
    if (2 * this.#rows.length > this.#slots.length) this.#grow();
  }

  find(seal: string): SealPlace | undefined {
    const number = this.#slots[this.#slotOf(blake3(utf8(seal)))] as number;
    return number === 0 ? undefined : placeOf(this.#rows.row(number - 1));
  }

  /** Forgets the seals of events from `sn` on. */
  truncate(sn: number): void {
    // The last one added stands on nobody's way: taking them out in reverse leaves the table as it was.
    for (let last = this.#rows.length - 1; last >= 0; last--) {
      const row = this.#rows.row(last);
      if (placeOf(row).sn < sn) return;
      this.#slots[this.#slotOf(row)] = 0;
      this.#rows.truncate(last);
    }
  }

  /** Where the row with this fingerprint is, or would be. @param bytes begin with the fingerprint */
  #slotOf(bytes: Uint8Array): number {
    const mask = this.#slots.length - 1;
    let slot = firstWord(bytes) & mask;
    for (;;) {
      const number = this.#slots[slot] as number;
      if (number === 0 || startsAlike(this.#rows.row(number - 1), bytes)) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    this.#slots = new Uint32Array(2 * this.#slots.length);
    for (let index = 0; index < this.#rows.length; index++)
      this.#slots[this.#slotOf(this.#rows.row(index))] = index + 1;
  }
}

function placeOf(row: Buffer): SealPlace {
  return {
    sn: row.readDoubleBE(FINGERPRINT_LENGTH),
    sealIndex: row.readUInt32BE(FINGERPRINT_LENGTH + 8),
  };
}

function firstWord(bytes: Uint8Array): number {
  const byte = (at: number) => bytes[at] as number;
  return ((byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3)) >>> 0;
}

function startsAlike(row: Uint8Array, fingerprint: Uint8Array): boolean {
  for (let i = 0; i < FINGERPRINT_LENGTH; i++) if (row[i] !== fingerprint[i]) return false;
  return true;
}
