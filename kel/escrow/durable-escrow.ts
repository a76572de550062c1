/** The escrow and its entries in the table, changed together; each entry has an ordinal, so that the order of arrival survives. */
import type { DurableTable } from '#src/store/durable-table';
import { ordinal } from '#src/store/ordinal';
import { decodeEscrowed, encodeEscrowed } from './escrow-entry.ts';
import type { EscrowedMessage, TimedEscrow } from './timed-escrow.ts';

/** Between two looks at what has waited too long. */
const EXPIRY_INTERVAL_MS = 10_000;

const ESCROW = 'escrow.';

const escrowKey = (at: number): string => ESCROW + ordinal(at);

export class DurableEscrow {
  readonly #table: DurableTable;
  readonly #escrow: TimedEscrow;
  #nextOrdinal = 0;
  #nextExpiry = 0;
  #dropped = 0;
  #expired = 0;

  constructor(table: DurableTable, escrow: TimedEscrow) {
    this.#table = table;
    this.#escrow = escrow;
  }

  /** Entries that left because there was no room. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Entries that left because their time was up. */
  get expired(): number {
    return this.#expired;
  }

  /** Reads what waits from the table, in place of what is in memory. */
  async load(): Promise<void> {
    this.#nextOrdinal = 0;
    this.#escrow.clear();
    for await (const [key, value] of this.#table.entries(ESCROW)) {
      const entry = decodeEscrowed(Number.parseInt(key.slice(ESCROW.length), 16), value);
      this.#escrow.add(entry);
      this.#nextOrdinal = entry.ordinal + 1;
    }
  }

  /** Adds it as the newest; older ones leave where a bound is reached. */
  put(entry: Omit<EscrowedMessage, 'ordinal'>): void {
    const numbered = { ...entry, ordinal: this.#nextOrdinal };
    this.#nextOrdinal += 1;
    for (const gone of this.#escrow.add(numbered)) {
      this.#dropped += 1;
      this.#table.delete(escrowKey(gone.ordinal));
    }
    this.#table.put(escrowKey(numbered.ordinal), encodeEscrowed(numbered));
  }

  take(entry: EscrowedMessage): void {
    this.#escrow.remove(entry);
    this.#table.delete(escrowKey(entry.ordinal));
  }

  /** Takes it for want of room. */
  drop(entry: EscrowedMessage): void {
    this.#dropped += 1;
    this.take(entry);
  }

  /** Takes out what has waited too long. */
  expire(now: number): void {
    if (now < this.#nextExpiry) return;
    this.#nextExpiry = now + EXPIRY_INTERVAL_MS;
    for (const entry of this.#escrow.expired(now)) {
      this.#expired += 1;
      this.take(entry);
    }
  }
}
