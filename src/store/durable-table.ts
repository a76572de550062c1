/**
 * A sorted table on LevelDB (or its in-memory twin): every value carries a checksum bound to its key, and
 * writes collect into one atomic batch that is on disk when `commit` resolves.
 *
 * LevelDB opens a damaged database without a word and may show a value under another key; the checksum turns
 * that into STORE_CORRUPT. It guards against accidents, not against someone who writes to the disk.
 */
import { crc32 } from 'node:zlib';
import type { AbstractLevel } from 'abstract-level';
import { StoreError } from './errors.ts';

/** `new Level(path)` of the package level, `new MemoryLevel()` of memory-level. */
export type Database = AbstractLevel<string | Buffer | Uint8Array>;

type Table = AbstractLevel<string | Buffer | Uint8Array, string, Uint8Array>;

const CHECKSUM_LENGTH = 4;

export class DurableTable {
  readonly #name: string;
  readonly #table: Table;
  /** Writes since the last commit; undefined deletes. */
  readonly #pending = new Map<string, Uint8Array | undefined>();

  private constructor(name: string, table: Table) {
    this.#name = name;
    this.#table = table;
  }

  /** @param name lower-case letters; the table's own range of keys in `db` */
  static async open(db: Database, name: string): Promise<DurableTable> {
    await db.open();
    const table: Table = db.sublevel<string, Uint8Array>(name, {
      keyEncoding: 'utf8',
      valueEncoding: 'view',
    });
    await table.open();
    return new DurableTable(name, table);
  }

  /** The value as the next commit will leave it: for whoever writes. @throws STORE_CORRUPT */
  getPending(key: string): Uint8Array | undefined {
    return this.#pending.has(key) ? this.#pending.get(key) : this.get(key);
  }

  /** The value on disk. @throws STORE_CORRUPT */
  get(key: string): Uint8Array | undefined {
    const stored = this.#table.getSync(key);
    return stored === undefined ? undefined : this.#open(key, stored);
  }

  put(key: string, value: Uint8Array): void {
    this.#pending.set(key, value);
  }

  delete(key: string): void {
    this.#pending.set(key, undefined);
  }

  /** Committed entries whose key begins with `prefix`, in the order of their keys. @throws STORE_CORRUPT */
  async *entries(prefix: string, from = ''): AsyncGenerator<readonly [string, Uint8Array]> {
    const range = { gte: prefix + from, lt: `${prefix}\uffff` };
    for await (const [key, stored] of this.#table.iterator(range)) {
      yield [key, this.#open(key, stored)];
    }
  }

  /**
   * Writes everything pending as one atomic batch, synced to disk unless `isLosable`: then a loss of power,
   * though not of the process, may take it.
   * @throws STORE_WRITE_FAILED; pending writes are dropped then, and the disk holds all of them or none
   */
  async commit({ isLosable = false } = {}): Promise<void> {
    if (!this.hasPending) return;
    const operations = [...this.#pending].map(([key, value]) =>
      value === undefined
        ? { type: 'del' as const, key }
        : { type: 'put' as const, key, value: seal(key, value) },
    );
    try {
      // `sync` is an option of classic-level that its in-memory twin ignores.
      await this.#table.batch(operations, { sync: !isLosable } as object);
    } catch (cause) {
      throw new StoreError(
        'STORE_WRITE_FAILED',
        `table ${this.#name}: expected ${operations.length} writes on disk, got ${cause instanceof Error ? cause.message : 'an error'}`,
        { cause },
      );
    } finally {
      this.#pending.clear();
    }
  }

  get hasPending(): boolean {
    return this.#pending.size > 0;
  }

  discard(): void {
    this.#pending.clear();
  }

  async close(): Promise<void> {
    await this.#table.close();
  }

  #open(key: string, stored: Uint8Array): Uint8Array {
    // A copy: what a database hands out may be its own memory.
    const value = new Uint8Array(stored.subarray(CHECKSUM_LENGTH));
    const expected = checksum(key, value);
    const got = stored.length < CHECKSUM_LENGTH ? undefined : view(stored).getUint32(0);
    if (got !== expected) {
      throw new StoreError(
        'STORE_CORRUPT',
        `table ${this.#name}, entry ${key}: expected checksum ${expected}, got ${got ?? 'a torn value'}`,
        { fields: { key } },
      );
    }
    return value;
  }
}

function seal(key: string, value: Uint8Array): Uint8Array {
  const out = new Uint8Array(CHECKSUM_LENGTH + value.length);
  view(out).setUint32(0, checksum(key, value));
  out.set(value, CHECKSUM_LENGTH);
  return out;
}

function checksum(key: string, value: Uint8Array): number {
  return crc32(value, crc32(key));
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
