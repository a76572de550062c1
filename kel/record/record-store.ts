/**
 * The verified records that this agent holds, durable, by SAID and by (type, AID).
 *
 * Latest wins by (sequence number of the signing establishment event, `dt`, SAID), whatever the order of
 * arrival. Every (type, AID) has a bound: of most types the oldest goes, of charters and revocations
 * none is ever forgotten in favour of a newer one.
 */
import type { Aid, Said } from '#kel/identifiers';
import { type Database, DurableTable } from '#kel/store/durable-table';
import { StoreError } from '#kel/store/errors';
import { SerialQueue } from '#src/serial-queue';
import { RecordError } from './errors.ts';
import { parseRecord } from './parse.ts';
import type { AnyRecord, RecordOf, RecordType, Verified } from './record.ts';

export interface StoredRecord<T = AnyRecord> {
  readonly record: Verified<T>;
  /** The signed message as it goes to a peer. */
  readonly message: Uint8Array;
}

/** `superseded`: as many newer ones are kept already; `dropped`: a bound is reached that evicts nothing. */
export type PutOutcome = 'stored' | 'known' | 'superseded' | 'dropped';

export interface RecordLimits {
  /** Records in all. @default 262,144 */
  readonly maxRecords: number;
}

const defaultLimits: RecordLimits = { maxRecords: 262_144 };

/** Records kept per AID, and whether a newer one drives out the oldest. */
const retention: {
  readonly [T in RecordType]: { readonly keep: number; readonly evict: boolean };
} = {
  nod: { keep: 4, evict: true },
  tun: { keep: 16, evict: true },
  end: { keep: 2, evict: true },
  chr: { keep: 4096, evict: false },
  log: { keep: 16, evict: true },
  rvk: { keep: 4096, evict: false },
  tup: { keep: 1024, evict: true },
};

const recordPrefix = 'record.';

interface Entry {
  readonly said: Said;
  /** Sorts as latest-wins compares. */
  readonly rank: string;
}

export class RecordStore {
  readonly #table: DurableTable;
  readonly #limits: RecordLimits;
  readonly #queue = new SerialQueue();
  /** Every record kept, per type and AID, oldest first. Rebuilt from the table when opened. */
  readonly #index = new Map<RecordType, Map<Aid, Entry[]>>();
  #size = 0;
  /** A write failed, and the disk holds all of it or none: it is read again before the next one. */
  #stale = false;
  #dropped = 0;

  private constructor(table: DurableTable, limits: RecordLimits) {
    this.#table = table;
    this.#limits = limits;
  }

  /** @throws STORE_CORRUPT when an entry does not read back as the record it was */
  static async open(db: Database, limits: Partial<RecordLimits> = {}): Promise<RecordStore> {
    const table = await DurableTable.open(db, 'record');
    const store = new RecordStore(table, { ...defaultLimits, ...limits });
    await store.#load();
    return store;
  }

  /**
   * Keeps a verified record. Durable when it resolves.
   * @param message the signed message that `record` was parsed from
   * @throws RECORD_WRONG_SAID when `message` is another record, STORE_WRITE_FAILED
   */
  async put(record: Verified<AnyRecord>, message: Uint8Array): Promise<PutOutcome> {
    const parsed = parseRecord(message);
    if (parsed.record.d !== record.d) {
      throw new RecordError(
        'RECORD_WRONG_SAID',
        `record message: expected ${record.d}, got ${parsed.record.d}`,
      );
    }
    const entry = { said: record.d, rank: rankOf(parsed.record, parsed.signers[0].sn) };
    return this.#queue.run(() => this.#put(record, entry, message));
  }

  get(said: Said): StoredRecord | undefined {
    const message = this.#table.get(recordPrefix + said);
    return message === undefined ? undefined : read(said, message);
  }

  latest<T extends RecordType>(type: T, aid: Aid): StoredRecord<RecordOf<T>> | undefined {
    const entry = this.#index.get(type)?.get(aid)?.at(-1);
    return entry === undefined ? undefined : this.#read(type, entry);
  }

  /** Oldest first within an AID. */
  list<T extends RecordType>(type: T, aid?: Aid): readonly StoredRecord<RecordOf<T>>[] {
    const byAid = this.#index.get(type);
    const entries = aid === undefined ? [...(byAid?.values() ?? [])].flat() : byAid?.get(aid);
    return (entries ?? []).map((entry) => this.#read(type, entry));
  }

  saids(): readonly Said[] {
    return [...this.#index.values()]
      .flatMap((byAid) => [...byAid.values()].flat())
      .map((entry) => entry.said);
  }

  /** Since the store was opened. */
  counters(): { readonly records: number; readonly dropped: number } {
    return { records: this.#size, dropped: this.#dropped };
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#table.close();
  }

  async #put(record: AnyRecord, entry: Entry, message: Uint8Array): Promise<PutOutcome> {
    if (this.#stale) await this.#load();
    const { keep, evict } = retention[record.t];
    const entries = this.#entries(record.t, record.i);
    if (entries.some((known) => known.said === entry.said)) return 'known';
    const oldest = entries.length < keep ? undefined : (entries[0] as Entry);
    if (oldest !== undefined && evict && entry.rank < oldest.rank) return 'superseded';
    if ((oldest !== undefined && !evict) || (oldest === undefined && this.#isFull())) {
      this.#dropped += 1;
      return 'dropped';
    }
    this.#table.put(recordPrefix + entry.said, message);
    if (oldest !== undefined) {
      this.#table.delete(recordPrefix + oldest.said);
      this.#remove(entries, oldest);
    }
    this.#stale = true;
    await this.#table.commit();
    this.#stale = false;
    this.#add(entries, entry);
    return 'stored';
  }

  #isFull(): boolean {
    return this.#size >= this.#limits.maxRecords;
  }

  async #load(): Promise<void> {
    this.#index.clear();
    this.#size = 0;
    for await (const [key, message] of this.#table.entries(recordPrefix)) {
      const said = key.slice(recordPrefix.length) as Said;
      const { record, signers } = parseStored(said, message);
      this.#add(this.#entries(record.t, record.i), {
        said,
        rank: rankOf(record, signers[0].sn),
      });
    }
    this.#stale = false;
  }

  #entries(type: RecordType, aid: Aid): Entry[] {
    const byAid = this.#index.get(type) ?? new Map<Aid, Entry[]>();
    this.#index.set(type, byAid);
    const entries = byAid.get(aid) ?? [];
    byAid.set(aid, entries);
    return entries;
  }

  #add(entries: Entry[], entry: Entry): void {
    const after = entries.findIndex((known) => known.rank > entry.rank);
    entries.splice(after === -1 ? entries.length : after, 0, entry);
    this.#size += 1;
  }

  #remove(entries: Entry[], entry: Entry): void {
    entries.splice(entries.indexOf(entry), 1);
    this.#size -= 1;
  }

  #read<T extends RecordType>(type: T, entry: Entry): StoredRecord<RecordOf<T>> {
    const stored = this.get(entry.said);
    if (stored?.record.t !== type) {
      throw new StoreError(
        'STORE_CORRUPT',
        `record ${entry.said}: expected type ${type}, got ${stored?.record.t ?? 'nothing'}`,
      );
    }
    return stored as StoredRecord<unknown> as StoredRecord<RecordOf<T>>;
  }
}

/** Sequence number with fixed width, date-time, SAID: text order is latest-wins order. */
function rankOf(record: AnyRecord, sn: number): string {
  return `${sn.toString(16).padStart(14, '0')} ${record.dt} ${record.d}`;
}

function read(said: Said, message: Uint8Array): StoredRecord {
  // Only verified records are put, and the checksum of the table says that this is what was put.
  return { record: parseStored(said, message).record as Verified<AnyRecord>, message };
}

function parseStored(said: Said, message: Uint8Array): ReturnType<typeof parseRecord> {
  try {
    const parsed = parseRecord(message);
    if (parsed.record.d === said) return parsed;
    throw new StoreError(
      'STORE_CORRUPT',
      `record ${said}: expected its SAID, got ${parsed.record.d}`,
    );
  } catch (cause) {
    if (cause instanceof StoreError) throw cause;
    throw new StoreError(
      'STORE_CORRUPT',
      `record ${said}: expected a record, got what cannot be read`,
      {
        cause,
      },
    );
  }
}
