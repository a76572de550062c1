/**
 * The openings of leaves, apart from the log, so that they can be erased.
 *
 * Erasing removes the entry from the database; copies in backups, snapshots and on
 * worn-out flash cells are beyond it.
 */

import { decodeCbor, encodeCbor } from '#src/cbor';
import { SerialQueue } from '#src/serial-queue';
import type { Database } from '#src/store/durable-table';
import { DurableTable } from '#src/store/durable-table';
import type { Openings } from '../format/leaf.ts';
import { decodeOpenings, openingsToCbor } from '../format/openings.ts';
import { asInteger } from '../format/shape.ts';

/** Sorts behind every index. */
const LOG_SIZE = 'log-size';

export interface IndexedOpenings {
  readonly index: number;
  readonly openings: Openings;
}

export class OpeningStore {
  readonly #table: DurableTable;
  readonly #queue = new SerialQueue();

  private constructor(table: DurableTable) {
    this.#table = table;
  }

  static async open(db: Database): Promise<OpeningStore> {
    return new OpeningStore(await DurableTable.open(db, 'openings'));
  }

  /** Entries that the log had after the last leaves, or before them when a crash came between: it never has fewer. */
  get logSize(): number {
    const bytes = this.#table.get(LOG_SIZE);
    return bytes === undefined ? 0 : asInteger(decodeCbor(bytes), 'size of the log');
  }

  /** The log as it is counts, shorter or not. @param isLosable without a flush: a power cut may lose it */
  setLogSize(size: number, { isLosable = false } = {}): Promise<void> {
    return this.#queue.run(async () => {
      this.#table.put(LOG_SIZE, encodeCbor(size));
      await this.#table.commit({ isLosable });
    });
  }

  /** Whether leaf `index` was written with this store: its openings come first, and stay unless they are erased. */
  has(index: number): boolean {
    return this.#table.get(keyOf(index)) !== undefined;
  }

  /** Stores all in one durable write; what stood at an index, left by a crash, is replaced. @param logSize entries before the batch */
  put(batch: readonly IndexedOpenings[], logSize: number): Promise<void> {
    return this.#queue.run(async () => {
      this.#table.put(LOG_SIZE, encodeCbor(logSize));
      for (const { index, openings } of batch)
        this.#table.put(keyOf(index), encodeOpenings(openings));
      await this.#table.commit();
    });
  }

  /** The openings of leaf `index`, none when they were erased. @throws STORE_CORRUPT */
  get(index: number): Openings {
    const bytes = this.#table.get(keyOf(index));
    return bytes === undefined ? new Map() : decodeOpenings(decodeCbor(bytes));
  }

  erase(index: number): Promise<void> {
    return this.#queue.run(async () => {
      this.#table.delete(keyOf(index));
      await this.#table.commit();
    });
  }
}

function encodeOpenings(openings: Openings): Uint8Array {
  return encodeCbor(openingsToCbor(openings));
}

/** Decimal with leading zeros: the keys sort as the indices. */
function keyOf(index: number): string {
  return index.toString().padStart(16, '0');
}
