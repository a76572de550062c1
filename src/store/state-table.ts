/** Small facts that an agent remembers across restarts, as JSON in a durable table: every change is on disk when it resolves. */

import { utf8 } from '#src/bytes';
import { SerialQueue } from '#src/serial-queue';
import { type Database, DurableTable } from '#src/store/durable-table';

/** The mapping `key: undefined` deletes. */
export type TableWrite = Readonly<Record<string, unknown>>;

const decoder = new TextDecoder();

export class StateTable {
  readonly #table: DurableTable;
  readonly #queue = new SerialQueue();

  private constructor(table: DurableTable) {
    this.#table = table;
  }

  /** @param name lower-case letters, unique in the database */
  static async open(db: Database, name: string): Promise<StateTable> {
    return new StateTable(await DurableTable.open(db, name));
  }

  /** The value as it was put; the caller names the type that it put. Throws STORE_CORRUPT. */
  get<T>(key: string): T | undefined {
    const bytes = this.#table.get(key);
    return bytes === undefined ? undefined : (JSON.parse(decoder.decode(bytes)) as T);
  }

  /** All changes in one atomic write. */
  put(change: TableWrite): Promise<void> {
    return this.#queue.run(async () => {
      // All encoded before the first is written: what has no JSON leaves nothing behind for the next write to take along.
      const writes = Object.entries(change).map(
        ([key, value]) =>
          [key, value === undefined ? undefined : utf8(JSON.stringify(value))] as const,
      );
      for (const [key, bytes] of writes) {
        if (bytes === undefined) this.#table.delete(key);
        else this.#table.put(key, bytes);
      }
      await this.#table.commit();
    });
  }

  async *entries<T>(prefix: string): AsyncGenerator<readonly [string, T]> {
    for await (const [key, bytes] of this.#table.entries(prefix))
      yield [key, JSON.parse(decoder.decode(bytes)) as T];
  }
}
