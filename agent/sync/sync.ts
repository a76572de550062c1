/**
 * Keeps logs and records of all members equal: sessions on connection, on change, and now and then with
 * one peer at random, so that whatever was lost on the way arrives in the end.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EndRecord, RecordType, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { Rng } from '#src/rng';
import type { Identity } from '../identity/identity.ts';
import type { Journal } from '../journal.ts';
import type { Membership } from '../membership/membership.ts';
import type { MessageStream, Network, PeerKey } from '../network/network.ts';
import { companyOf, delegatorLogs, delegatorsIn, withDelegators } from '../node/delegators.ts';
import type { RecordIntake } from '../records/record-intake.ts';
import { verifyEndpoints, verifyStranger } from './binding.ts';
import { SyncError } from './errors.ts';
import { type Knock, Knocks, MAX_STRANGER_LOG } from './knocks.ts';
import { type LogHead, syncLimits, syncProtocol } from './messages.ts';
import type { PeerDirectory } from './peer-directory.ts';
import { answerSession, openSession, type SyncContext } from './session.ts';

/** A session that takes longer is given up and tried again. */
const SESSION_MS = 30_000;
/** A change is pushed this long after it was made, together with what else changed meanwhile. */
const PUSH_DELAY_MS = 20;
/** Anti-entropy: every agent opens a session with one bound peer about this often. */
const EXCHANGE_MS = 20_000;
/** A connected peer that is not bound yet is tried again after this. */
const RETRY_MS = 2_000;
/** Log bytes of one AID in one frame. */
const LOG_PAGE = 256 * 1024;
const MAX_DELEGATORS = 1_024;

export interface SyncDeps {
  readonly network: Network;
  readonly identity: Identity;
  readonly kel: LevelKelStore;
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly membership: Membership;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly verifySignature: VerifySignature;
  /** The own signed `end` record as it is now. */
  readonly endpoints: () => Promise<Uint8Array>;
  readonly journal: Journal;
}

interface PeerSync {
  running: boolean;
  again: boolean;
  failures: number;
}

const OFFERED: readonly RecordType[] = ['chr', 'rvk', 'ack', 'nod', 'log', 'tun', 'end'];

export class Sync {
  readonly knocks = new Knocks();
  readonly #deps: SyncDeps;
  readonly #context: SyncContext;
  readonly #peers = new Map<PeerKey, PeerSync>();
  /** Milliseconds that each AID's clock was ahead when it last said hello. */
  readonly #skew = new Map<Aid, number>();
  readonly #heard = new Map<Aid, number>();
  /** Which member's log each connected peer has sent: a long one takes several sessions. */
  readonly #gave = new Map<PeerKey, Aid>();
  /** Delegators of members whose log waits for theirs. */
  readonly #delegators = new Set<Aid>();
  readonly #boundListeners = new Set<(aid: Aid) => void>();
  #signal: AbortSignal = AbortSignal.abort();
  #pushing = false;
  #sessions = 0;

  constructor(deps: SyncDeps) {
    this.#deps = deps;
    this.#context = this.#makeContext();
  }

  /** Sessions ended well since the start. */
  get sessions(): number {
    return this.#sessions;
  }

  /** When `aid` last proved who it is; milliseconds since the Unix epoch. */
  heardAt(aid: Aid): number | undefined {
    return this.#heard.get(aid);
  }

  skewOf(aid: Aid): number | undefined {
    return this.#skew.get(aid);
  }

  onBound(listener: (aid: Aid) => void): void {
    this.#boundListeners.add(listener);
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    const { network } = this.#deps;
    network.handle(syncProtocol, syncLimits, (stream) => this.#answer(stream));
    network.listen({
      connected: (peer) => this.#connected(peer),
      disconnected: (peer) => {
        this.#peers.delete(peer);
        this.#gave.delete(peer);
        this.#deps.directory.unbind(peer);
      },
    });
    for (const peer of network.peers()) this.#connected(peer);
    void this.#exchangeLoop(signal);
  }

  /** Something changed that members should hold: a session with every connected one. */
  push(): void {
    if (this.#pushing || this.#signal.aborted) return;
    this.#pushing = true;
    void this.#deps.clock.sleep(PUSH_DELAY_MS, this.#signal).then(
      () => {
        this.#pushing = false;
        for (const peer of this.#deps.network.peers()) if (this.#concerns(peer)) this.request(peer);
      },
      () => {
        this.#pushing = false;
      },
    );
  }

  /** Someone holds events that are missing here: `author` if it is connected, else whoever is. */
  catchUp(author: PeerKey): void {
    const bound = this.#deps.network.peers().filter((peer) => this.#concerns(peer));
    const peer = bound.includes(author) ? author : bound[0];
    if (peer !== undefined) this.request(peer);
  }

  /** A session with `peer`, now or right after the one that runs. */
  request(peer: PeerKey): void {
    if (this.#signal.aborted) return;
    const state = this.#peers.get(peer) ?? { running: false, again: false, failures: 0 };
    this.#peers.set(peer, state);
    if (state.running) {
      state.again = true;
      return;
    }
    state.running = true;
    void this.#run(peer, state);
  }

  #concerns(peer: PeerKey): boolean {
    const { directory, membership } = this.#deps;
    const aid = directory.aidOf(peer);
    if (aid !== undefined) return membership.maySync(aid);
    return this.knocks.list().some((knock) => knock.peer === peer && membership.maySync(knock.aid));
  }

  /** The end with the lower peer key opens; the other only if that did not lead to a binding. */
  #connected(peer: PeerKey): void {
    const { network, clock, directory } = this.#deps;
    if (network.self < peer) {
      this.request(peer);
      return;
    }
    void clock.sleep(RETRY_MS, this.#signal).then(
      () => {
        if (directory.aidOf(peer) === undefined && network.peers().includes(peer))
          this.request(peer);
      },
      () => undefined,
    );
  }

  async #run(peer: PeerKey, state: PeerSync): Promise<void> {
    const { network, clock, directory } = this.#deps;
    do {
      state.again = false;
      try {
        const stream = await network.open(peer, syncProtocol, syncLimits);
        await this.#bounded(stream, openSession(stream, this.#context));
        state.failures = 0;
        this.#sessions += 1;
      } catch (error) {
        this.#failed(peer, error);
        state.failures += 1;
        if (this.#signal.aborted || !network.peers().includes(peer)) break;
        await clock
          .sleep(Math.min(RETRY_MS * 2 ** Math.min(state.failures, 4), EXCHANGE_MS), this.#signal)
          .catch(() => undefined);
        state.again =
          !this.#signal.aborted &&
          network.peers().includes(peer) &&
          (state.again || directory.aidOf(peer) === undefined || state.failures < 3);
      }
    } while (state.again);
    state.running = false;
  }

  async #answer(stream: MessageStream): Promise<void> {
    try {
      await this.#bounded(stream, answerSession(stream, this.#context));
      this.#sessions += 1;
    } catch (error) {
      this.#failed(stream.peer, error);
    }
  }

  async #bounded(stream: MessageStream, session: Promise<void>): Promise<void> {
    try {
      await withDeadline(this.#deps.clock, SESSION_MS, session, () => {
        throw new SyncError('SYNC_TIMEOUT', `no end of the session within ${SESSION_MS} ms`);
      });
    } catch (error) {
      stream.abort(error as Error);
      throw error;
    }
  }

  #failed(peer: PeerKey, error: unknown): void {
    if (this.#signal.aborted) return;
    this.#deps.journal.debug('sync.failed', {
      peer,
      code: (error as { code?: string }).code ?? 'none',
      message: (error as Error).message,
    });
  }

  async #exchangeLoop(signal: AbortSignal): Promise<void> {
    const { clock, rng, network, membership } = this.#deps;
    while (!signal.aborted) {
      const [jitter = 0, choice = 0] = rng.bytes(2);
      await clock.sleep(EXCHANGE_MS * (0.75 + jitter / 512), signal).catch(() => undefined);
      if (signal.aborted) return;
      const concerned = network.peers().filter((peer) => this.#concerns(peer));
      // Who has no charter yet gets it from the governor alone, and must not ask all others in turn.
      const candidates = membership.isIn || concerned.length > 0 ? concerned : network.peers();
      const peer = candidates[choice % Math.max(1, candidates.length)];
      if (peer !== undefined) this.request(peer);
    }
  }

  #makeContext(): SyncContext {
    const { identity, kel, membership, clock, intake, records, journal } = this.#deps;
    return {
      ownHead: () => headOf(identity.state),
      mesh: () => membership.mesh ?? '',
      now: () => clock.now(),
      want: (peer, head) =>
        this.#mayLearn(peer, head.aid) ? (kel.state(head.aid)?.sn ?? -1) + 1 : 0,
      ownLog: async (from) =>
        concatBytes(
          await delegatorLogs(identity.aid, from, kel, LOG_PAGE),
          await kel.export(identity.aid, from, LOG_PAGE),
        ),
      ownEndpoints: () => this.#deps.endpoints(),
      bind: (stream, head, log, endpoints) => this.#bind(stream.peer, head, log, endpoints),
      revocationOf: async (aid) => {
        if (membership.suspensionOf(aid) !== undefined)
          return { revocation: new Uint8Array(0), log: await this.#evidenceAgainst(aid) };
        const revocation = membership.revocationOf(aid);
        const message = revocation === undefined ? undefined : records.get(revocation.d)?.message;
        if (revocation === undefined || message === undefined)
          return { revocation: new Uint8Array(0), log: new Uint8Array(0) };
        return { revocation: message, log: await kel.export(revocation.i, 0, LOG_PAGE) };
      },
      refused: async (by, code, revocation, log) => {
        journal.debug('sync.refused', { by, code });
        // Whoever refuses us for a fork of our own log has the proof; it needs no trust in the sender.
        if (revocation.length === 0 && log.length > 0)
          await kel.takeEvidence(log, { accepts: (aid) => aid === identity.aid });
        if (revocation.length === 0 || by !== membership.governor) return;
        await this.#receiveLogs([log]);
        await intake.take(
          revocation,
          (type, issuer) => type === 'rvk' && membership.mayIssue(type, issuer),
        );
      },
      heads: (to) =>
        (membership.maySync(to) ? [...withDelegators(membership.known(), kel)] : [])
          .map((aid) => kel.state(aid))
          .filter((state) => state !== undefined)
          .map(headOf),
      records: (to) => (membership.maySync(to) ? this.#offered() : []),
      log: (aid, from) => kel.export(aid, from, LOG_PAGE),
      record: async (said) => records.get(said)?.message,
      receiveLogs: (_from, logs) => this.#receiveLogs(logs),
      receiveRecords: async (from, messages) => {
        for (const message of messages) {
          const verdict = await intake.take(message, (type, issuer) =>
            membership.mayIssue(type, issuer),
          );
          if (verdict.kind === 'refused')
            journal.debug('record.refused', { from, code: verdict.code });
        }
      },
      clockSeen: (aid, skewMs) => {
        this.#skew.set(aid, skewMs);
      },
    };
  }

  /** Whose logs are held here is told to nobody but them: it would show who knows whom. */
  #mayLearn(peer: PeerKey, aid: Aid): boolean {
    const { directory, records } = this.#deps;
    if (directory.aidOf(peer) === aid || this.#gave.get(peer) === aid) return true;
    return records.latest('end', aid)?.record.p === peer;
  }

  /** Logs of AIDs that the charter names; the rest is dropped unread. */
  async #receiveLogs(logs: readonly Uint8Array[]): Promise<void> {
    const { kel, membership } = this.#deps;
    const known = membership.known();
    const wanted = withDelegators([...known, ...this.#delegators], kel);
    // As one stream: the store writes once for many events, whatever number of logs they belong to.
    const outcomes = await kel.process(concatBytes(...logs), { accepts: (aid) => wanted.has(aid) });
    for (const { code, aid, offset } of outcomes) {
      if (code !== 'KEL_AWAITS_DELEGATOR' || aid === undefined) continue;
      if (this.#delegators.size >= MAX_DELEGATORS) this.#delegators.clear();
      for (const delegator of delegatorsIn(logAt(logs, offset), aid))
        this.#delegators.add(delegator);
    }
  }

  async #evidenceAgainst(aid: Aid): Promise<Uint8Array> {
    const { kel } = this.#deps;
    const found = kel.duplicityCases().find((fork) => fork.aid === aid);
    const file =
      found === undefined ? undefined : await kel.evidenceFile(found).catch(() => undefined);
    return file !== undefined && file.length <= LOG_PAGE ? file : new Uint8Array(0);
  }

  #offered(): readonly Said[] {
    const { records, membership } = this.#deps;
    const saids: Said[] = [];
    for (const type of OFFERED) {
      for (const { record } of records.list(type)) {
        if (type === 'chr' || type === 'rvk' || membership.maySync(record.i)) saids.push(record.d);
      }
    }
    return saids;
  }

  async #bind(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<boolean> {
    const { membership, kel, directory, intake, identity, clock, journal } = this.#deps;
    if (head.aid === identity.aid)
      throw new SyncError('SYNC_NOT_BOUND', 'the peer claims the own AID');
    const company = companyOf(head.aid, log, kel);
    if (membership.suspensionOf(head.aid) !== undefined) {
      // Its log is still taken: a recovery of it must be able to arrive.
      await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
      return false;
    }
    if (!membership.maySync(head.aid)) {
      await this.#knock(peer, head, log, endpoints);
      return false;
    }
    await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
    if (log.length > 0) this.#gave.set(peer, head.aid);
    const record = await verifyEndpoints(this.#deps, head.aid, peer, endpoints, (aid, sn, said) =>
      kel.establishment(aid, sn, said),
    );
    await intake.take(endpoints, (type, issuer) => type === 'end' && issuer === head.aid);
    const isNew = directory.aidOf(peer) !== head.aid;
    directory.bind(peer, head.aid);
    this.#heard.set(head.aid, clock.now());
    this.knocks.delete(head.aid);
    if (isNew) {
      journal.info('peer.bound', { aid: head.aid, peer, sn: record.es.s, at: clock.now() });
      for (const listener of this.#boundListeners) listener(head.aid);
    }
    return true;
  }

  /** A former member's log is kept, so it sent only what is new; a stranger's is checked in memory. */
  async #verifyOutsider(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<Verified<EndRecord>> {
    const { kel, membership } = this.#deps;
    if (!membership.known().has(head.aid))
      return verifyStranger(this.#deps, head, peer, log, endpoints);
    const company = companyOf(head.aid, log, kel);
    await kel.process(log, { accepts: (aid) => aid === head.aid || company.has(aid) });
    return verifyEndpoints(this.#deps, head.aid, peer, endpoints, (aid, sn, said) =>
      kel.establishment(aid, sn, said),
    );
  }

  async #knock(
    peer: PeerKey,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<void> {
    const { clock, journal } = this.#deps;
    if (log.length > MAX_STRANGER_LOG)
      throw new SyncError(
        'SYNC_NOT_A_MEMBER',
        `a stranger's log of ${log.length} bytes, at most ${MAX_STRANGER_LOG} are read`,
      );
    const former = this.knocks.get(head.aid);
    if (log.length === 0 && former?.peer === peer) return;
    const record = await this.#verifyOutsider(peer, head, log, endpoints);
    const knock: Knock = {
      aid: head.aid,
      peer,
      addresses: record.la,
      log,
      endpoints,
      at: clock.now(),
    };
    this.knocks.add(knock);
    if (former === undefined) journal.info('peer.knocks', { aid: head.aid, peer });
  }
}

function headOf(state: { aid: Aid; sn: number; said: Said }): LogHead {
  return { aid: state.aid, sn: state.sn, said: state.said };
}

/** The log in which the joined stream has `offset`. */
function logAt(logs: readonly Uint8Array[], offset: number): Uint8Array {
  let end = 0;
  const found = logs.find((log) => {
    end += log.length;
    return offset < end;
  });
  return found ?? new Uint8Array(0);
}
