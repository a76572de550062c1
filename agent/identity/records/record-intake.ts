/**
 * The one door through which records enter, own and foreign: parse, verify, check the seal and the clock,
 * store, then tell. Nothing before it has passed everything is kept or believed.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { isOfLaterVersion, type RecordError } from '#kel/record/errors';
import { parseRecord } from '#kel/record/parse';
import type { AnyRecord, RecordOf, RecordType, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import { verifyRecord } from '#kel/record/verify';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { KelStore } from '#kel/store/kel-store';
import { Allowance, type AllowanceOptions } from '#src/allowance';
import { type Clock, parseDateTime } from '#src/clock';

/** Record types that count only when their issuer's log seals them (DESIGN section 3). */
const SEALED: ReadonlySet<RecordType> = new Set<RecordType>(['nod', 'tun', 'chr', 'rvk', 'log']);

/**
 * New records of one AID, by type: each is a write here, and those that leaves come to name are kept for ever. Beyond that they
 * are refused, and taken when a later session offers them. A newcomer is given a whole window of the store at once. Charters
 * and revocations wait for nothing; their number is bounded, and an emergency is in them.
 */
const RATES: { readonly [T in RecordType]?: AllowanceOptions } = {
  tun: { burst: 64, perSecond: 1 / 120 },
  log: { burst: 32, perSecond: 1 / 600 },
  nod: { burst: 8, perSecond: 1 / 60 },
  end: { burst: 64, perSecond: 1 / 5 },
  ack: { burst: 4_096, perSecond: 1 },
};

/** Records of a later version whose SAIDs are remembered. */
const MAX_PASSED_OVER = 4_096;

/** How far ahead of the own clock a record may be dated before it is put off: a far future would win for ever. */
const FUTURE_MS = 5 * 60_000;

export type IntakeVerdict =
  | { readonly kind: 'stored'; readonly record: Verified<AnyRecord> }
  | { readonly kind: 'known' }
  | { readonly kind: 'refused'; readonly code: string }
  /** Of a later version: nothing is wrong with it, and nothing here may act on it. */
  | { readonly kind: 'unknown'; readonly code: string; readonly said: Said };

export type RecordListener = (record: Verified<AnyRecord>) => void;

export class RecordIntake {
  readonly #kel: KelStore;
  readonly #store: RecordStore;
  readonly #clock: Clock;
  readonly #verifySignature: VerifySignature;
  readonly #self: Aid | undefined;
  readonly #allowances: ReadonlyMap<string, Allowance<Aid>>;
  readonly #listeners = new Set<RecordListener>();
  #refused = 0;
  #unknown = 0;
  /** Their SAIDs, oldest first. */
  readonly #passedOver = new Set<Said>();

  constructor(deps: {
    kel: KelStore;
    records: RecordStore;
    clock: Clock;
    verifySignature: VerifySignature;
    /** Own records have no rate. */
    self?: Aid;
  }) {
    this.#kel = deps.kel;
    this.#store = deps.records;
    this.#clock = deps.clock;
    this.#verifySignature = deps.verifySignature;
    this.#self = deps.self;
    this.#allowances = new Map(
      Object.entries(RATES).map(([type, rate]) => [type, new Allowance<Aid>(deps.clock, rate)]),
    );
  }

  /** Records refused since the start: shown in `status`. */
  get refused(): number {
    return this.#refused;
  }

  /** Records of a later version, which were passed over, since the start: shown in `status`. */
  get unknown(): number {
    return this.#unknown;
  }

  /** The last of them, so that nobody has to bring them with every session: they are asked for again by a newer program. */
  get passedOver(): readonly Said[] {
    return [...this.#passedOver];
  }

  subscribe(listener: RecordListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** @param message attacker-controlled: a record with its signature groups */
  async take(
    message: Uint8Array,
    mayIssue: (type: RecordType, issuer: Aid) => boolean,
  ): Promise<IntakeVerdict> {
    const verdict = await this.#examine(message, mayIssue);
    if (verdict.kind === 'refused') this.#refused += 1;
    if (verdict.kind === 'unknown') this.#passOver(verdict.said);
    if (verdict.kind === 'stored') for (const listener of this.#listeners) listener(verdict.record);
    return verdict;
  }

  /** The event that seals `said`, for records that were stored. */
  async sealedIn(issuer: Aid, said: Said): Promise<EventReference | undefined> {
    return (await this.#kel.sealOf(issuer, said))?.event;
  }

  #passOver(said: Said): void {
    this.#unknown += 1;
    this.#passedOver.add(said);
    for (const oldest of this.#passedOver) {
      if (this.#passedOver.size <= MAX_PASSED_OVER) break;
      this.#passedOver.delete(oldest);
    }
  }

  async #examine(
    message: Uint8Array,
    mayIssue: (type: RecordType, issuer: Aid) => boolean,
  ): Promise<IntakeVerdict> {
    try {
      const parsed = parseRecord(message);
      const { record } = parsed;
      if (this.#store.get(record.d) !== undefined) return { kind: 'known' };
      if (!mayIssue(record.t, record.i)) return { kind: 'refused', code: 'RECORD_WRONG_SIGNER' };
      if ((parseDateTime(record.dt) ?? Number.POSITIVE_INFINITY) > this.#clock.now() + FUTURE_MS)
        return { kind: 'refused', code: 'RECORD_BAD_FIELD' };
      const verified = await verifyRecord(parsed, {
        establishment: (aid, sn, said) => this.#kel.establishment(aid, sn, said),
        verifySignature: this.#verifySignature,
      });
      if (SEALED.has(record.t) && (await this.sealedIn(record.i, record.d)) === undefined)
        return { kind: 'refused', code: 'RECORD_NOT_SEALED' };
      // Only now is it the issuer's own: nobody spends another's allowance.
      if (record.i !== this.#self && this.#allowances.get(record.t)?.take(record.i) === false)
        return { kind: 'refused', code: 'RECORD_TOO_MANY' };
      const outcome = await this.#store.put(verified, message);
      // No room is no knowledge: it is counted, and a later session brings it again.
      if (outcome === 'dropped') return { kind: 'refused', code: 'RECORD_TOO_MANY' };
      return outcome === 'stored' ? { kind: 'stored', record: verified } : { kind: 'known' };
    } catch (error) {
      const code = codeOf(error);
      return isOfLaterVersion(error)
        ? { kind: 'unknown', code, said: (error as RecordError).fields['said'] as Said }
        : { kind: 'refused', code };
    }
  }
}

function codeOf(error: unknown): string {
  const code = (error as { code?: unknown }).code;
  if (typeof code === 'string' && code.startsWith('RECORD_')) return code;
  throw error;
}

/** Narrowing for listeners and lookups. */
export function isType<T extends RecordType>(
  record: Verified<AnyRecord>,
  type: T,
): record is Verified<RecordOf<T>> & Verified<AnyRecord> {
  return record.t === type;
}
