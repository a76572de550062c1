/**
 * The verified records that this agent holds, durable, by SAID and by (type, AID).
 *
 * Latest wins by (sequence number of the signing establishment event, `dt`, SAID), whatever the order of
 * arrival. Every (type, AID) has a window of the newest: of most types the oldest leaves it, of charters and revocations
 * none is ever forgotten in favour of a newer one. What somebody has named (`retain`: a leaf, an agreement, a proof) is kept when
 * it leaves the window, for as long as the store: it is found by its SAID and exported, and no longer listed.
 */
import type { Aid, Said } from '#kel/identifiers';
import { SerialQueue } from '#src/serial-queue';
import { type Database, DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
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
  /** Records in all, charters and revocations apart. @default 262,144 */
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
  // One for every revocation that its issuer has applied: what was evicted would be issued anew, and evict the next.
  ack: { keep: 4096, evict: true },
  tup: { keep: 1024, evict: true },
};

/** Records in memory. */
const MAX_CACHED = 8192;

const recordPrefix = 'record.';
/** Messages that have left their window and are kept. */
const keptPrefix = 'kept.';
/** Marks of records in their window that stay when they leave it. */
const namedPrefix = 'named.';

interface Entry {
  readonly said: Said;
  /** Sorts as latest-wins compares. */
  readonly rank: string;
}

type Index = Map<RecordType, Map<Aid, Entry[]>>;

export class RecordStore {
  readonly #table: DurableTable;
  readonly #limits: RecordLimits;
  readonly #queue = new SerialQueue();
  /** Every record kept, per type and AID, oldest first. Rebuilt from the table when opened. */
  #index: Index = new Map();
  #saids = new Set<Said>();
  /** Of those, what is kept beyond its window. */
  #named = new Set<Said>();
  /** Records that were read, so that a look at every member does not parse every record again. */
  readonly #cache = new Map<Said, StoredRecord>();
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
    const copy = new Uint8Array(message);
    const parsed = parseRecord(copy);
    if (parsed.record.d !== record.d) {
      throw new RecordError(
        'RECORD_WRONG_SAID',
        `record message: expected ${record.d}, got ${parsed.record.d}`,
      );
    }
    const entry = { said: record.d, rank: rankOf(parsed.record, parsed.signers[0].sn) };
    return this.#queue.run(() => this.#put(record, entry, copy));
  }

  /**
   * Keeps these records for as long as the store; those that are not held are passed over. Durable when it resolves, and
   * only then may what names them be written.
   */
  async retain(saids: readonly Said[]): Promise<void> {
    await this.#queue.run(async () => {
      if (this.#stale) await this.#load();
      const fresh = saids.filter((said) => this.#saids.has(said) && !this.#named.has(said));
      if (fresh.length === 0) return;
      for (const said of fresh) this.#table.put(namedPrefix + said, new Uint8Array(0));
      this.#stale = true;
      await this.#table.commit();
      this.#stale = false;
      for (const said of fresh) this.#named.add(said);
    });
  }

  /** What has left its window and is kept. */
  async *kept(): AsyncGenerator<StoredRecord> {
    for await (const [key, message] of this.#table.entries(keptPrefix))
      yield read(key.slice(keptPrefix.length) as Said, message);
  }

  /** Also what has left its window and is kept. */
  get(said: Said): StoredRecord | undefined {
    const cached = this.#cache.get(said);
    if (cached !== undefined) return cached;
    const prefix = this.#saids.has(said) ? recordPrefix : keptPrefix;
    const message = this.#table.get(prefix + said);
    if (message === undefined) return undefined;
    const stored = read(said, message);
    if (this.#cache.size >= MAX_CACHED) this.#cache.clear();
    this.#cache.set(said, stored);
    return stored;
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
    return [...this.#saids];
  }

  /** Since the store was opened. */
  counters(): { readonly records: number; readonly dropped: number } {
    return { records: this.#saids.size, dropped: this.#dropped };
  }

  async close(): Promise<void> {
    await this.#queue.idle();
    await this.#table.close();
  }

  async #put(record: AnyRecord, entry: Entry, message: Uint8Array): Promise<PutOutcome> {
    if (this.#stale) await this.#load();
    const { keep, evict } = retention[record.t];
    if (this.get(entry.said) !== undefined) return 'known';
    const entries = this.#index.get(record.t)?.get(record.i) ?? [];
    const oldest = entries.length < keep ? undefined : (entries[0] as Entry);
    if (oldest !== undefined && evict && entry.rank < oldest.rank) return 'superseded';
    if ((oldest !== undefined && !evict) || (oldest === undefined && this.#isFull(record))) {
      this.#dropped += 1;
      return 'dropped';
    }
    this.#table.put(recordPrefix + entry.said, message);
    if (oldest !== undefined) this.#leaveWindow(oldest, entries);
    this.#stale = true;
    await this.#table.commit();
    this.#stale = false;
    this.#saids.add(entry.said);
    insert(entriesOf(this.#index, record.t, record.i), entry);
    return 'stored';
  }

  #leaveWindow({ said }: Entry, entries: Entry[]): void {
    const message = this.#named.has(said) ? this.#table.get(recordPrefix + said) : undefined;
    if (message !== undefined) {
      this.#table.put(keptPrefix + said, message);
      this.#table.delete(namedPrefix + said);
      this.#named.delete(said);
    }
    this.#table.delete(recordPrefix + said);
    this.#cache.delete(said);
    this.#saids.delete(said);
    entries.shift();
  }

  /** The bound in all is not one for what puts somebody out: no crowd of other records keeps a charter or a revocation away. */
  #isFull({ t }: AnyRecord): boolean {
    return t !== 'chr' && t !== 'rvk' && this.#saids.size >= this.#limits.maxRecords;
  }

  async #load(): Promise<void> {
    const index: Index = new Map();
    const saids = new Set<Said>();
    for await (const [key, message] of this.#table.entries(recordPrefix)) {
      const said = key.slice(recordPrefix.length) as Said;
      const { record, signers } = parseStored(said, message);
      insert(entriesOf(index, record.t, record.i), { said, rank: rankOf(record, signers[0].sn) });
      saids.add(said);
    }
    const named = new Set<Said>();
    for await (const [key] of this.#table.entries(namedPrefix))
      named.add(key.slice(namedPrefix.length) as Said);
    this.#index = index;
    this.#saids = saids;
    this.#named = named;
    this.#cache.clear();
    this.#stale = false;
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

function entriesOf(index: Index, type: RecordType, aid: Aid): Entry[] {
  const byAid = index.get(type) ?? new Map<Aid, Entry[]>();
  index.set(type, byAid);
  const entries = byAid.get(aid) ?? [];
  byAid.set(aid, entries);
  return entries;
}

function insert(entries: Entry[], entry: Entry): void {
  const after = entries.findIndex((known) => known.rank > entry.rank);
  entries.splice(after === -1 ? entries.length : after, 0, entry);
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
