/**
 * Agreements that survive a restart: one per pair of tunnel records, so that two generations of keys stand side by
 * side, each with its chain key sealed under a key encryption key (KEK).
 *
 * Only the chain of the epoch in use is stored. `advance` writes the next chain, synced to disk, before it hands out
 * the next preshared key: after a crash at any point the store gives the same key of the same epoch again.
 *
 * What erasure means here: LevelDB does not overwrite. The sealed value of a past epoch stays in the log file or a
 * table file until a compaction drops it, and on the medium until the blocks are reused. Who has such an old file *and*
 * the KEK reads the keys from that epoch on; so a past epoch is erased for certain when its KEK is destroyed,
 * and at the latest a fresh agreement (24 h, every key rotation) makes it worthless for what comes after.
 * Somebody who writes to the disk can also put back an older value whole; the keys then differ from the peer's.
 *
 *   value = version (1 byte, 1) · terms · th 32 · epoch 8 · sealed chain, each field length-prefixed;
 *   all before the sealed chain is its associated data
 */
import type { AbstractLevel } from 'abstract-level';
import type { Brand } from '#src/brand';
import { concatBytes, equalBytes, lengthPrefixed, uint64be } from '#src/bytes';
import { open, SEAL_OVERHEAD, seal } from '#src/crypto/aead';
import { agreementStoreLabel } from '#src/crypto/labels';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { MAX_EPOCH } from '../../mesh/membership/epoch.ts';
import type { Agreement } from './agreement.ts';
import { type ChainPosition, chainAt, presharedKey } from './chain.ts';
import { AgreementError } from './errors.ts';
import { FieldReader } from './fields.ts';
import type { AgreementPolicy } from './policy.ts';
import { type AgreementPair, type PairTerms, readTerms, termsFields } from './terms.ts';

/** Name of a pair of tunnel keys in a mesh, the same on both ends. */
export type PairKey = Brand<string, 'PairKey'>;

/** A stored agreement at one epoch. */
export interface EpochKey extends AgreementPolicy {
  /** Transcript hash, 32 bytes. */
  readonly th: Uint8Array;
  readonly pair: AgreementPair;
  readonly epoch: number;
  /** WireGuard preshared key of `epoch`, 32 bytes; the receiver disposes of it. */
  readonly psk: Secret;
}

/** Mesh, AIDs and tun records name it; the establishment events follow from the records. */
export function pairKey({ mesh, initiator, responder }: AgreementPair): PairKey {
  const parts = [
    mesh,
    initiator.aid,
    initiator.tunnelRecord,
    responder.aid,
    responder.tunnelRecord,
  ];
  return parts.join(':') as PairKey;
}

type Database = AbstractLevel<string | Buffer | Uint8Array>;
type Table = AbstractLevel<string | Buffer | Uint8Array, string, Uint8Array>;

const VERSION = 1;
const TH_LENGTH = 32;
const CHAIN_LENGTH = 32;
/** `sync` is an option of classic-level that its in-memory twin ignores. */
const durable: object = { sync: true };

interface Entry {
  readonly terms: PairTerms;
  readonly th: Uint8Array;
  readonly position: ChainPosition;
}

export class AgreementStore {
  readonly #table: Table;
  readonly #kek: Secret;
  readonly #rng: Rng;
  readonly #queue = new SerialQueue();

  private constructor(table: Table, kek: Secret, rng: Rng) {
    this.#table = table;
    this.#kek = kek;
    this.#rng = rng;
  }

  /** @param db closed by the caller  @param kek 32 bytes, the caller's, alive as long as the store */
  static async open(db: Database, kek: Secret, rng: Rng): Promise<AgreementStore> {
    const table: Table = db.sublevel<string, Uint8Array>('agreement', {
      keyEncoding: 'utf8',
      valueEncoding: 'view',
    });
    await guarded('open', () => table.open());
    return new AgreementStore(table, kek, rng);
  }

  /**
   * Replaces what the pair had; durable when it resolves. The chain is erased from memory then, and when it rejects.
   * An agreement that is there already keeps the epoch it has reached.
   * @throws AGREEMENT_STORE_FAILED
   */
  put(agreement: Agreement): Promise<void> {
    return this.#queue.run(async () => {
      const { th, pair, contributions, epochSeconds, baseEpoch } = agreement;
      using chain = agreement.chain;
      const key = pairKey(pair);
      if (!(await this.#holds(key, th))) {
        const terms = { ...pair, policy: { contributions, epochSeconds, baseEpoch } };
        await this.#write([[key, { terms, th, position: { epoch: baseEpoch, chain } }]]);
      }
    });
  }

  /** The key of the epoch that the pair has reached. @throws AGREEMENT_STORE_CORRUPT, AGREEMENT_STORE_FAILED */
  current(pair: PairKey): Promise<EpochKey | undefined> {
    return this.#queue.run(async () => {
      const entry = await this.#read(pair);
      return entry === undefined ? undefined : epochKey(entry);
    });
  }

  /**
   * The key of `epoch`; keys of earlier epochs are gone when this resolves.
   * @throws AGREEMENT_NONE, AGREEMENT_EPOCH_PAST, AGREEMENT_EPOCH_FAR, AGREEMENT_STORE_CORRUPT, AGREEMENT_STORE_FAILED
   */
  async advance(pair: PairKey, epoch: number): Promise<EpochKey> {
    const [key] = await this.advanceAll([[pair, epoch]]);
    return key as EpochKey;
  }

  /** As {@link advance} for many pairs, all in one write or none. @returns in the same order */
  advanceAll(due: readonly (readonly [PairKey, number])[]): Promise<readonly EpochKey[]> {
    return this.#queue.run(async () => {
      const entries: (readonly [PairKey, Entry])[] = [];
      try {
        const moved: typeof entries = [];
        for (const [pair, epoch] of due) {
          const entry = await this.#read(pair);
          if (entry === undefined)
            throw new AgreementError('AGREEMENT_NONE', `pair ${pair} has no agreement`);
          entries.push([pair, entry]);
          if (epoch === entry.position.epoch) continue;
          const next = [pair, { ...entry, position: chainAt(entry.position, epoch) }] as const;
          entries[entries.length - 1] = next;
          moved.push(next);
        }
        if (moved.length > 0) await this.#write(moved);
        return entries.map(([, entry]) => epochKey(entry));
      } catch (error) {
        for (const [, { position }] of entries) position.chain[Symbol.dispose]();
        throw error;
      }
    });
  }

  /** Durable when it resolves; removing what is not there is not an error. @throws AGREEMENT_STORE_FAILED */
  remove(pair: PairKey): Promise<void> {
    return this.#queue.run(() => guarded(`remove ${pair}`, () => this.#table.del(pair, durable)));
  }

  async #holds(key: PairKey, th: Uint8Array): Promise<boolean> {
    const stored = await guarded(`read ${key}`, () => this.#table.get(key));
    // What cannot be read is no reason to refuse a fresh agreement.
    try {
      return stored !== undefined && equalBytes(parse(key, stored).th, th);
    } catch {
      return false;
    }
  }

  async #write(entries: readonly (readonly [PairKey, Entry])[]): Promise<void> {
    const operations = entries.map(([key, { terms, th, position }]) => {
      const head = encodeHead(terms, th, position.epoch);
      const sealed = seal(this.#kek, position.chain.expose(), agreementStoreLabel(head), this.#rng);
      return { type: 'put' as const, key, value: concatBytes(head, lengthPrefixed(sealed)) };
    });
    const what = `write ${entries.length === 1 ? entries[0]?.[0] : `${entries.length} pairs`}`;
    await guarded(what, () => this.#table.batch(operations, durable));
  }

  async #read(key: PairKey): Promise<Entry | undefined> {
    const stored = await guarded(`read ${key}`, () => this.#table.get(key));
    if (stored === undefined) return undefined;
    const { terms, th, epoch, head, sealed } = parse(key, stored);
    let chain: Secret;
    try {
      chain = Secret.take(open(this.#kek, sealed, agreementStoreLabel(head)));
    } catch (cause) {
      throw new AgreementError(
        'AGREEMENT_STORE_CORRUPT',
        `pair ${key}: the chain of epoch ${epoch} does not open`,
        { cause },
      );
    }
    return { terms, th, position: { epoch, chain } };
  }
}

/** Takes the entry over: its chain is erased. */
function epochKey({ terms, th, position }: Entry): EpochKey {
  const { policy, ...pair } = terms;
  using chain = position.chain;
  return { ...policy, th, pair, epoch: position.epoch, psk: presharedKey(chain) };
}

function encodeHead(terms: PairTerms, th: Uint8Array, epoch: number): Uint8Array {
  return concatBytes(
    Uint8Array.of(VERSION),
    lengthPrefixed(...termsFields(terms), th, uint64be(BigInt(epoch))),
  );
}

function parse(key: PairKey, value: Uint8Array) {
  const reader = new FieldReader(value, `pair ${key}`, 'AGREEMENT_STORE_CORRUPT');
  reader.constant('version', VERSION);
  const terms = storedTerms(reader);
  const th = reader.bytes('th', TH_LENGTH);
  const epoch = reader.counter('epoch', MAX_EPOCH);
  const head = value.subarray(0, reader.at);
  const sealed = reader.bytes('sealed chain', SEAL_OVERHEAD + CHAIN_LENGTH);
  reader.end();
  if (pairKey(terms) !== key) throw reader.fail(`belongs to ${pairKey(terms)}`);
  return { terms, th, epoch, head, sealed };
}

function storedTerms(reader: FieldReader): PairTerms {
  try {
    return readTerms(reader);
  } catch (cause) {
    if (cause instanceof AgreementError && cause.code === 'AGREEMENT_STORE_CORRUPT') throw cause;
    throw new AgreementError('AGREEMENT_STORE_CORRUPT', 'the terms are not valid', { cause });
  }
}

async function guarded<T>(what: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (cause) {
    throw new AgreementError('AGREEMENT_STORE_FAILED', `could not ${what}`, { cause });
  }
}
