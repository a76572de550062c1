/** Small facts that an agent remembers across restarts, as JSON in a durable table: every change is on disk when it resolves. */
import { type Database, DurableTable } from '#kel/store/durable-table';
import { utf8 } from '#src/bytes';
import { SerialQueue } from '#src/serial-queue';

/** The mapping `key: undefined` deletes. */
export type StateChange = Readonly<Record<string, unknown>>;

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
  put(change: StateChange): Promise<void> {
    return this.#queue.run(async () => {
      for (const [key, value] of Object.entries(change)) {
        if (value === undefined) this.#table.delete(key);
        else this.#table.put(key, utf8(JSON.stringify(value)));
      }
      await this.#table.commit();
    });
  }

  async *entries<T>(prefix: string): AsyncGenerator<readonly [string, T]> {
    for await (const [key, bytes] of this.#table.entries(prefix)) yield [key, JSON.parse(decoder.decode(bytes)) as T];
  }
}
