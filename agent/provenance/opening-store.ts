/**
 * The openings of leaves, apart from the log, so that they can be erased.
 *
 * Erasing removes the entry from the database; copies in backups, snapshots and on
 * worn-out flash cells are beyond it.
 */
import type { Database } from '#kel/store/durable-table';
import { DurableTable } from '#kel/store/durable-table';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import { SerialQueue } from '#src/serial-queue';
import type { Opening, Openings } from './leaf.ts';
import { asBytes, asList, asText, ShapeError } from './shape.ts';

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

  /** Stores all in one durable write; what stood at an index, left by a crash, is replaced. */
  put(batch: readonly IndexedOpenings[]): Promise<void> {
    return this.#queue.run(async () => {
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

/** A list of [name, salt, value]. */
export function openingsToCbor(openings: Openings): CborValue {
  return [...openings].map(([name, { salt, value }]) => [name, salt, value]);
}

/** Inverse of {@link openingsToCbor}; names may not repeat. @throws ShapeError */
export function decodeOpenings(value: CborValue | undefined): Openings {
  const openings = new Map<string, Opening>();
  for (const item of asList(value, 'openings')) {
    const [name, salt, encoded] = asList(item, 'opening', 3);
    const field = asText(name, 'field');
    if (openings.has(field)) throw new ShapeError(`openings: field ${field} stands twice`);
    openings.set(field, { salt: asBytes(salt, 'salt', 32), value: asBytes(encoded, 'value') });
  }
  return openings;
}

function encodeOpenings(openings: Openings): Uint8Array {
  return encodeCbor(openingsToCbor(openings));
}

/** Decimal with leading zeros: the keys sort as the indices. */
function keyOf(index: number): string {
  return index.toString().padStart(16, '0');
}
