/**
 * The key event logs on LevelDB. Every accepted event, with its signatures, seals and heads, is in one
 * atomic and synced batch before anybody hears of it; a long stream is written in groups.
 */
import { parseBody } from '#kel/cesr/body';
import { type ParsedMessage, parseStream, type StreamItem } from '#kel/cesr/stream';
import { claimedFork, verifyEvidence } from '#kel/duplicity/evidence-file';
import { KelError } from '#kel/errors';
import { explainWaiting, type WaitingReport } from '#kel/escrow/explain';
import { claimedAid } from '#kel/event/parse';
import type { Aid, Said } from '#kel/identifiers';
import type { EstablishedKeys, SealSource } from '#kel/key-state/established-keys';
import type { KeyState } from '#kel/key-state/key-state';
import type { VerifySignature } from '#kel/state/key-signatures';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import { type Database, DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
import {
  defaultEscrowLimits,
  type EscrowedMessage,
  TimedEscrow,
  type TimedEscrowLimits,
} from '../escrow/timed-escrow.ts';
import { messageOf } from '../message/stored-message.ts';
import {
  AcceptedLogs,
  decodeChain,
  decodeSources,
  decodeState,
  settledStateAt,
} from './accepted-logs.ts';
import { Announcements, type DuplicityListener, type EventListener } from './announcements.ts';
import { type Duplicity, type DuplicityCase, DuplicityEvidence } from './duplicity-evidence.ts';
import { EventIntake, type EventVerdict, type IntakeCounters } from './event-intake.ts';
import { buildEvidenceFile, keepEvidenceFile } from './evidence-transfer.ts';
import { type FirstSeenEntry, firstSeenLog, replayStream } from './first-seen-log.ts';
import type { KelStore, MessageOutcome, ProcessOptions } from './kel-store.ts';
import { chainKey, eventKey, sealKey, stateKey } from './keys.ts';
import { loadLogs, type ReplayResult, replayLogs } from './store-check.ts';

export interface LevelKelStoreOptions {
  readonly verifySignature: VerifySignature;
  readonly clock: Pick<Clock, 'now'>;
  readonly limits?: Partial<TimedEscrowLimits>;
}

/** What became of an evidence file: `refused` proves nothing, is not wanted, or finds no room. */
export type EvidenceOutcome = 'new' | 'known' | 'refused';

/** Accepted events per batch: enough to hide the flush, few enough to keep other work waiting for milliseconds only. */
const GROUP_SIZE = 256;

export class LevelKelStore implements KelStore {
  readonly #table: DurableTable;
  readonly #options: LevelKelStoreOptions;
  readonly #logs: AcceptedLogs;
  readonly #escrow: TimedEscrow;
  readonly #evidence: DuplicityEvidence;
  readonly #intake: EventIntake;
  readonly #queue = new SerialQueue();
  readonly #announcements = new Announcements();
  /** A write failed, and the disk holds all of it or none: it is read again before the next one. */
  #isStale = false;
  #isClosed = false;

  private constructor(table: DurableTable, options: LevelKelStoreOptions) {
    const { verifySignature, clock, limits } = options;
    this.#table = table;
    this.#options = options;
    this.#logs = new AcceptedLogs(table, verifySignature);
    this.#escrow = new TimedEscrow({ ...defaultEscrowLimits, ...limits });
    this.#evidence = new DuplicityEvidence(table);
    this.#intake = new EventIntake({
      table,
      logs: this.#logs,
      escrow: this.#escrow,
      evidence: this.#evidence,
      verifySignature,
      clock,
    });
  }

  /** Reads the heads and checks them against the events. @throws STORE_CORRUPT, which names what does not fit */
  static async open(db: Database, options: LevelKelStoreOptions): Promise<LevelKelStore> {
    const store = new LevelKelStore(await DurableTable.open(db, 'kel'), options);
    await store.#load();
    return store;
  }

  process(
    stream: Uint8Array,
    { accepts = () => true }: ProcessOptions = {},
  ): Promise<readonly MessageOutcome[]> {
    return this.#exclusive(() => this.#process(stream, accepts));
  }

  /**
   * Takes a file that proves duplicity (`kel/duplicity/evidence-file.ts`): its events as any others, and the
   * case itself also where a recovery here has already superseded them. Durable when it resolves.
   * @param file of any origin  @param accepts whose evidence is wanted; asked before a signature is checked
   */
  takeEvidence(
    file: Uint8Array,
    { accepts = () => true }: ProcessOptions = {},
  ): Promise<EvidenceOutcome> {
    const fork = claimedFork(file);
    return this.#exclusive(async () => {
      if (fork === undefined || !accepts(fork.aid)) return 'refused';
      const { aid, sn, saids } = fork;
      if (this.#evidence.find(aid, sn, saids) !== undefined) return 'known';
      if (verifyEvidence(file, this.#options.verifySignature).verdict === 'none') return 'refused';
      await this.#process(file, accepts);
      if (this.#evidence.find(aid, sn, saids) !== undefined) return 'new';
      const isAdded = keepEvidenceFile(this.#evidence, file, this.#options.clock.now());
      if (isAdded) this.#intake.requireSync();
      await this.#commit();
      return isAdded ? 'new' : 'refused';
    });
  }

  state(aid: Aid): KeyState | undefined {
    return this.#logs.state(aid);
  }

  stateBefore(aid: Aid, sn: number): KeyState | undefined {
    const state = this.#logs.state(aid);
    if (state === undefined || sn > state.sn + 1) return undefined;
    return sn === state.sn + 1 ? state : settledStateAt(this.#table, aid, sn - 1);
  }

  /** Length of the first-seen log of `aid`: superseded events count. */
  eventCount(aid: Aid): number {
    return this.#logs.eventCount(aid);
  }

  aids(): readonly Aid[] {
    return this.#logs.aids();
  }

  holds(aid: Aid, sn: number, said: Said): boolean {
    return this.#table.get(eventKey(aid, sn, said)) !== undefined;
  }

  async establishment(aid: Aid, sn: number, said: Said): Promise<EstablishedKeys | undefined> {
    const current = this.#logs.state(aid);
    const isCurrent = current?.establishment.sn === sn;
    const entry = isCurrent ? undefined : this.#table.get(stateKey(aid, sn));
    const state = isCurrent ? current : entry === undefined ? undefined : decodeState(entry);
    if (state === undefined || state.establishment.said !== said) return undefined;
    return { aid, sn, said, keys: state.keys, signingThreshold: state.signingThreshold };
  }

  async sealOf(aid: Aid, said: Said): Promise<SealSource | undefined> {
    const [source] = decodeSources(this.#table.get(sealKey(aid, said)));
    return source === undefined ? undefined : { aid, event: { sn: source.sn, said: source.said } };
  }

  /** The events that stand in the log now; those that a recovery has superseded are left out. */
  async export(aid: Aid, from = 0, maxBytes = Number.POSITIVE_INFINITY): Promise<Uint8Array> {
    const messages: Uint8Array[] = [];
    let size = 0;
    // Without a pause, so that no recovery changes the log half-way.
    for (let sn = from; ; sn++) {
      const message = this.#signedEvent(aid, sn);
      if (message === undefined) break;
      size += message.length;
      if (messages.length > 0 && size > maxBytes) break;
      messages.push(message);
    }
    return concatBytes(...messages);
  }

  /** The event that stands at `sn`, with its signatures. */
  async signedEvent(aid: Aid, sn: number): Promise<Uint8Array | undefined> {
    return this.#signedEvent(aid, sn);
  }

  /** Everything that was accepted of `aid`, in that order, superseded events included. */
  firstSeenLog(aid: Aid): Promise<readonly FirstSeenEntry[]> {
    return firstSeenLog(this.#table, aid);
  }

  /** The same as a CESR stream: KERIpy's replay, with the couples of first-seen ordinal and time. */
  replayStream(aid: Aid): Promise<Uint8Array> {
    return replayStream(this.#table, aid);
  }

  /** Messages that wait, oldest first. */
  escrowed(): readonly EscrowedMessage[] {
    return this.#escrow.list();
  }

  /** The same with what each of them waits for. Those whose time is up are left out. */
  waiting(): readonly WaitingReport[] {
    const now = this.#options.clock.now();
    return this.#escrow
      .list()
      .map((entry) => explainWaiting(entry, this.#escrow.expiryOf(entry), this.#logs))
      .filter(({ expires }) => expires >= now);
  }

  /** Every known case of two validly signed events at one place of a log. */
  async duplicities(): Promise<readonly Duplicity[]> {
    return this.#evidence.list();
  }

  /** The same without the messages. */
  duplicityCases(): readonly DuplicityCase[] {
    return this.#evidence.cases();
  }

  /** An operator has resolved `count` cases of `aid`: new ones find room again. */
  forksResolved(aid: Aid, count: number): void {
    this.#evidence.resolved(aid, count);
  }

  /** The case as a file that proves itself. @throws DUPLICITY_NONE, DUPLICITY_TOO_LARGE */
  evidenceFile(found: DuplicityCase): Promise<Uint8Array> {
    return buildEvidenceFile(this.#evidence, this, found);
  }

  /** Called after each new case is durable. @returns unsubscribe */
  subscribeDuplicity(listener: DuplicityListener): () => void {
    return this.#announcements.onDuplicity(listener);
  }

  /** Since the store was opened. */
  counters(): IntakeCounters {
    return this.#intake.counters();
  }

  /**
   * Evaluates every accepted event again, from disk, in the order of acceptance.
   * @throws STORE_CORRUPT when that does not give the same state, seals and logs
   */
  replay(): Promise<ReplayResult> {
    return this.#exclusive(() => replayLogs(this.#table, this.#options.verifySignature));
  }

  subscribe(listener: EventListener): () => void {
    return this.#announcements.onEvent(listener);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#queue.idle();
    await this.#table.close();
  }

  #exclusive<T>(task: () => Promise<T>): Promise<T> {
    return this.#queue.run(async () => {
      if (this.#isClosed) {
        throw new StoreError(
          'STORE_CLOSED',
          'key event logs: expected an open store, got a closed one',
        );
      }
      if (this.#isStale) await this.#reload();
      try {
        return await task();
      } catch (error) {
        this.#isStale = true;
        throw error;
      }
    });
  }

  async #process(stream: Uint8Array, accepts: (aid: Aid) => boolean): Promise<MessageOutcome[]> {
    const outcomes: MessageOutcome[] = [];
    this.#intake.expire();
    for (const item of parseStream(stream)) {
      outcomes.push({ ...this.#take(item, accepts), offset: item.offset });
      if (this.#intake.accepted.length >= GROUP_SIZE) await this.#commit();
    }
    await this.#commit();
    return outcomes;
  }

  #take(item: StreamItem, accepts: (aid: Aid) => boolean): EventVerdict {
    if (item.type === 'fault') return this.#intake.refuse(item.code, item.reason);
    try {
      return this.#takeMessage(item, accepts);
    } catch (error) {
      if (error instanceof KelError) return this.#intake.refuse(error.code, error.message);
      throw error;
    }
  }

  /** Whether the AID is wanted is asked before anything of the message is computed: thresholds, digests, signatures. */
  #takeMessage(
    { version, body: bytes, attachments }: ParsedMessage,
    accepts: (aid: Aid) => boolean,
  ): EventVerdict {
    const body = parseBody(bytes, 'KERI', version);
    const aid = claimedAid(body);
    if (!accepts(aid)) {
      const verdict = this.#intake.refuse('KEL_NOT_WANTED', `no log of ${aid} is wanted here`);
      return { ...verdict, aid };
    }
    return this.#intake.offer(messageOf(body, bytes, attachments));
  }

  /** Makes everything durable, and then tells. */
  async #commit(): Promise<void> {
    const { accepted } = this.#intake;
    if (!this.#table.hasPending) return;
    this.#logs.putHeads();
    // What only waits can be sent again: a stranger shall not have a flush for each of his messages.
    await this.#table.commit({ isLosable: accepted.length === 0 && !this.#intake.mustSync });
    this.#logs.settle();
    this.#intake.settle();
    for (const { state, message } of accepted) this.#announcements.event(state, message);
    this.#announcements.duplicity(this.#evidence.settle());
  }

  async #load(): Promise<void> {
    this.#table.discard();
    await loadLogs(this.#table, this.#logs);
    await this.#intake.load();
    await this.#evidence.load();
    this.#isStale = false;
  }

  /** After a failed write: what reached the disk all the same is told now. */
  async #reload(): Promise<void> {
    const known = this.#logs.length;
    await this.#load();
    for (let at = known; at < this.#logs.length; at++) {
      const { aid, sn, said } = this.#logs.firstSeen(at);
      const state = this.#logs.stateAt(aid, sn);
      const message = this.#table.get(eventKey(aid, sn, said));
      if (state?.said === said && message !== undefined) this.#announcements.event(state, message);
    }
    this.#announcements.duplicity(this.#evidence.settle());
  }

  #signedEvent(aid: Aid, sn: number): Uint8Array | undefined {
    const entry = this.#table.get(chainKey(aid, sn));
    if (entry === undefined) return undefined;
    return this.#table.get(eventKey(aid, sn, decodeChain(entry).said));
  }
}
