/** What this organisation gives and takes in a session: whatever its charter says, and no more. */
import type { Aid, Said } from '#kel/identifiers';
import type { RecordType } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { concatBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { SteadyTime } from '#src/steady-time';
import { delegatorLogs, delegatorsIn, withDelegators } from '../../identity/node/delegators.ts';
import type { Identity } from '../../identity/own/identity.ts';
import type { RecordIntake } from '../../identity/records/record-intake.ts';
import type { MessageStream, PeerKey } from '../../network/network.ts';
import type { Membership } from '../membership/membership.ts';
import type { LogHead } from './messages.ts';
import { OwnLogComparison } from './own-log-comparison.ts';
import type { PeerBinder } from './peer-binder.ts';
import type { PeerClocks } from './peer-clocks.ts';
import type { SyncContext } from './session.ts';

/** Log bytes of one AID in one frame. */
const LOG_PAGE = 256 * 1024;

const OFFERED: readonly RecordType[] = ['chr', 'rvk', 'ack', 'nod', 'log', 'tun', 'end'];

export interface HoldingsDeps {
  readonly identity: Identity;
  readonly kel: LevelKelStore;
  readonly records: RecordStore;
  readonly intake: RecordIntake;
  readonly membership: Membership;
  readonly clock: Clock;
  /** Of members, as they are heard. */
  readonly clocks: PeerClocks;
  /** The time that is told to others, and compared with theirs. */
  readonly time: Pick<SteadyTime, 'now'>;
  /** The own signed `end` record as it is now. */
  readonly endpoints: () => Promise<Uint8Array>;
  readonly journal: Journal;
}

export class Holdings implements SyncContext {
  /** Of the own log with what members hold of it. */
  readonly comparison: OwnLogComparison;
  readonly #deps: HoldingsDeps;
  readonly #binder: PeerBinder;
  readonly #refusalListeners = new Set<(by: Aid, code: string, peer: PeerKey) => void>();
  readonly #exchangeListeners = new Set<(aid: Aid) => void>();
  /** Delegators of members whose log waits for theirs, by the AID that waits: a few each, so nobody drives out another's. */
  readonly #delegators = new Map<Aid, readonly Aid[]>();

  constructor(deps: HoldingsDeps, binder: PeerBinder) {
    this.#deps = deps;
    this.#binder = binder;
    this.comparison = new OwnLogComparison(deps);
  }

  /** Milliseconds that the clock of `aid` is ahead of the own time, if it goes on as it was last heard. */
  skewOf(aid: Aid): number | undefined {
    const { clocks, time } = this.#deps;
    return clocks.skewOf(aid, time.now());
  }

  /** After each session in which both ends gave each other what they held. */
  onExchanged(listener: (aid: Aid) => void): void {
    this.#exchangeListeners.add(listener);
  }

  clockSeen(aid: Aid, skewMs: number): void {
    const { clocks, time, membership } = this.#deps;
    // At most one entry per member, whoever was one meanwhile.
    clocks.heard(aid, skewMs + time.now(), (known) => membership.maySync(known));
  }

  ownHead(): LogHead {
    return headOf(this.#deps.identity.state);
  }

  mesh(): string {
    return this.#deps.membership.mesh ?? '';
  }

  now(): number {
    return this.#deps.time.now();
  }

  want(peer: PeerKey, head: LogHead): number {
    return this.#mayLearn(peer, head.aid) ? this.#lackedOf(peer, head) : 0;
  }

  async ownLog(from: number): Promise<Uint8Array> {
    const { identity, kel } = this.#deps;
    return concatBytes(
      await delegatorLogs(identity.aid, from, kel, LOG_PAGE),
      await kel.export(identity.aid, from, LOG_PAGE),
    );
  }

  ownEndpoints(): Promise<Uint8Array> {
    return this.#deps.endpoints();
  }

  bind(
    stream: MessageStream,
    head: LogHead,
    log: Uint8Array,
    endpoints: Uint8Array,
  ): Promise<boolean> {
    return this.#binder.bind(stream.peer, head, log, endpoints);
  }

  async revocationOf(aid: Aid): Promise<{ revocation: Uint8Array; log: Uint8Array }> {
    const { membership, records, kel } = this.#deps;
    if (membership.suspensionOf(aid) !== undefined)
      return { revocation: new Uint8Array(0), log: await this.#evidenceAgainst(aid) };
    const revocation = membership.revocationOf(aid);
    const message = revocation === undefined ? undefined : records.get(revocation.d)?.message;
    if (revocation === undefined || message === undefined)
      return { revocation: new Uint8Array(0), log: new Uint8Array(0) };
    return { revocation: message, log: await kel.export(revocation.i, 0, LOG_PAGE) };
  }

  /** Called when another end did not take this organisation for a member; `by` is what it says to be. */
  onRefused(listener: (by: Aid, code: string, peer: PeerKey) => void): void {
    this.#refusalListeners.add(listener);
  }

  /**
   * Log, revocation and evidence prove themselves, whoever brings them: a log of the governor that is not the one held here
   * shows its two faces.
   */
  async refused(
    peer: PeerKey,
    by: Aid,
    code: string,
    revocation: Uint8Array,
    log: Uint8Array,
  ): Promise<void> {
    const { journal, kel, identity, membership, intake } = this.#deps;
    journal.debug('sync.refused', { by, code });
    if (revocation.length === 0 && log.length > 0)
      await kel.takeEvidence(log, { accepts: (aid) => aid === identity.aid });
    if (revocation.length > 0) {
      await this.receiveLogs(by, [log]);
      await intake.take(
        revocation,
        (type, issuer) => type === 'rvk' && membership.mayIssue(type, issuer),
      );
    }
    for (const listener of this.#refusalListeners) listener(by, code, peer);
  }

  contradicts({ aid, sn, said }: LogHead): boolean {
    const { kel } = this.#deps;
    const held = kel.stateBefore(aid, sn + 1)?.said;
    const isKnown = kel.duplicityCases().some((fork) => fork.aid === aid);
    return held !== undefined && held !== said && !isKnown;
  }

  heads(to: Aid): readonly LogHead[] {
    const { membership, kel } = this.#deps;
    return (membership.maySync(to) ? [...withDelegators(membership.known(), kel)] : [])
      .map((aid) => kel.state(aid))
      .filter((state) => state !== undefined)
      .map(headOf);
  }

  records(to: Aid): readonly Said[] {
    const { records, membership, intake } = this.#deps;
    if (!membership.maySync(to)) return [];
    const saids: Said[] = [];
    for (const type of OFFERED) {
      for (const { record } of records.list(type)) {
        if (type === 'chr' || type === 'rvk' || membership.maySync(record.i)) saids.push(record.d);
      }
    }
    return [...saids, ...intake.passedOver];
  }

  log(aid: Aid, from: number): Promise<Uint8Array> {
    return this.#deps.kel.export(aid, from, LOG_PAGE);
  }

  async record(said: Said): Promise<Uint8Array | undefined> {
    return this.#deps.records.get(said)?.message;
  }

  /** Logs of AIDs that the charter names; the rest is dropped unread. */
  async receiveLogs(_from: Aid, logs: readonly Uint8Array[]): Promise<void> {
    const { kel, membership } = this.#deps;
    const above = [...this.#delegators.values()].flat();
    const wanted = withDelegators([...membership.known(), ...above], kel);
    // As one stream: the store writes once for many events, whatever number of logs they belong to.
    const outcomes = await kel.process(concatBytes(...logs), { accepts: (aid) => wanted.has(aid) });
    for (const { code, aid, offset } of outcomes) {
      if (code !== 'KEL_AWAITS_DELEGATOR' || aid === undefined) continue;
      const chain = delegatorsIn(logAt(logs, offset), aid);
      if (chain.length > 0) this.#delegators.set(aid, chain);
    }
    for (const aid of this.#delegators.keys())
      if (!wanted.has(aid) || kel.state(aid) !== undefined) this.#delegators.delete(aid);
  }

  async receiveRecords(from: Aid, messages: readonly Uint8Array[]): Promise<void> {
    const { intake, membership, journal } = this.#deps;
    for (const message of messages) {
      const verdict = await intake.take(message, (type, issuer) =>
        membership.mayIssue(type, issuer),
      );
      if (verdict.kind === 'refused' || verdict.kind === 'unknown')
        journal.debug(`record.${verdict.kind}`, { from, code: verdict.code });
    }
  }

  /**
   * What follows the log that is held; where it may hold interactions that a recovery of its owner has replaced, what follows its
   * last establishment event: nothing before that is ever replaced.
   */
  #lackedOf(peer: PeerKey, { aid, sn, said }: LogHead): number {
    const state = this.#deps.kel.state(aid);
    if (state === undefined) return 0;
    const isReplaced =
      this.#binder.isDoubted(peer, aid) ||
      sn < state.sn ||
      (sn === state.sn && said !== state.said);
    return (isReplaced ? state.establishment.sn : state.sn) + 1;
  }

  lacks(aid: Aid, from: number): void {
    if (this.#deps.membership.maySync(aid)) this.comparison.lacks(aid, from);
  }

  cut(to: Aid, held: { readonly heads: number; readonly records: number }): void {
    this.#deps.journal.warn('sync.list-cut', { to, ...held });
  }

  exchanged(aid: Aid): void {
    if (!this.#deps.membership.maySync(aid)) return;
    this.comparison.exchanged(aid);
    for (const listener of this.#exchangeListeners) listener(aid);
  }

  /** Whose logs are held here is told to nobody but them: it would show who knows whom. */
  #mayLearn(peer: PeerKey, aid: Aid): boolean {
    if (this.#binder.hasShown(peer, aid)) return true;
    return this.#deps.records.latest('end', aid)?.record.p === peer;
  }

  async #evidenceAgainst(aid: Aid): Promise<Uint8Array> {
    const { kel } = this.#deps;
    const found = kel.duplicityCases().find((fork) => fork.aid === aid);
    const file =
      found === undefined ? undefined : await kel.evidenceFile(found).catch(() => undefined);
    return file !== undefined && file.length <= LOG_PAGE ? file : new Uint8Array(0);
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
