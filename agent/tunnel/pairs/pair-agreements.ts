/**
 * Agreements of all pairs: runs one whenever a pair has none for its newest keys or the last is a day old, answers those of
 * others, and keeps them sealed. The keys that follow from them, epoch by epoch, are in `epoch-keys.ts`.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { TunRecord, Verified } from '#kel/record/record';
import type { RecordStore } from '#kel/record/record-store';
import type { KelStore } from '#kel/store/kel-store';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { SteadyTime } from '#src/steady-time';
import type { StateTable } from '#src/store/state-table';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import type { PairPolicyTerms } from '../../mesh/membership/policy/mesh-policy.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import type {
  Agreement,
  AgreementDeps,
  AgreementEnds,
  LocalEnd,
  OtherEnd,
} from '../agreement/agreement.ts';
import { type AgreementStore, pairKey } from '../agreement/agreement-store.ts';
import { AgreementError } from '../agreement/errors.ts';
import { Initiator } from '../agreement/machine.ts';
import {
  type PairContribution,
  type PairPolicy,
  permittedContributions,
  requiredContributions,
  sourcesOf,
} from '../agreement/policy.ts';
import {
  agreementLimits,
  agreementProtocol,
  type ResponderDeps,
  runInitiator,
  runResponder,
} from '../agreement/runner.ts';
import { roleOf } from '../agreement/terms.ts';
import { agreementPair } from './agreement-pair.ts';
import type { Edges } from './edges.ts';
import type { EpochKeys } from './epoch-keys.ts';
import { ageMs, isDue, type TimeNow } from './freshness.ts';
import type { OwnTunnelKeys } from './own-tunnel-keys.ts';
import type { Agreed, HeldKeys, PairKeys } from './pair-keys.ts';
import { type TunnelView, viewKey } from './view.ts';
import type { Views } from './views.ts';

/** Ends that are apart agree afresh no sooner after the last agreement: each one is a leaf of the audit log. */
const AFRESH_PAUSE_MS = 20_000;

/** Named in place of an agreement by an end that holds none. */
export const NO_AGREEMENT = new Uint8Array(32);

/** The end that has to begin does so within seconds; after this it is asked, and again each time. */
const LACKING_MS = 15_000;

/** Refusals that a sync session may cure. */
const STALE: ReadonlySet<string> = new Set([
  'AGREEMENT_STALE_VIEW',
  'AGREEMENT_UNKNOWN_PEER',
  // The charter of one end is older.
  'AGREEMENT_POLICY',
]);

export interface PairAgreementsDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly kel: KelStore;
  readonly records: RecordStore;
  readonly ownKeys: OwnTunnelKeys;
  readonly store: AgreementStore;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  /** The time that epochs follow: a clock that is stepped moves no chain. */
  readonly time: Pick<SteadyTime, 'now'>;
  readonly table: StateTable;
  readonly journal: Journal;
  readonly agreement: AgreementDeps;
  /** Makes the agreement's leaf durable: before any device is configured with it. */
  readonly recorded: (peer: Aid, th: Uint8Array, epoch: number) => Promise<void>;
  /** The newest keys of a pair, as the rest of the engine sees them: with others nothing is agreed. */
  readonly views: Pick<Views, 'newest'>;
  readonly edges: Edges;
  /** Milliseconds that the clock of `aid` is ahead of `time`, as it said when it was last heard; undefined: never heard. */
  readonly skewOf: (aid: Aid) => number | undefined;
  /** The other end has to begin: asks it for an agreement after `th`. */
  readonly askRenewal: (aid: Aid, view: TunnelView, th: Uint8Array) => Promise<void>;
  /** Of the agreements that are made here. */
  readonly epochKeys: EpochKeys;
}

/**
 * Runs that one peer may begin, and agreements that it may bring about: each is a leaf of the audit log for ever, and a proof may
 * follow it. An operator who rotates again and again stays below; what exceeds it waits.
 */
const RUNS = { burst: 256, perSecond: 1 / 10 };
const ASKED_AGREEMENTS = { burst: 128, perSecond: 1 / 120 };

/** What is remembered of a confirmed agreement beside its sealed chain. */
interface Remembered {
  /** Hex. */
  readonly th: string;
  readonly at: number;
  /** By steady time; agreements from before this was remembered have `at` alone. */
  readonly steady?: number;
  readonly peer: Aid;
  /** Absent: those that every agreement has. */
  readonly with?: readonly PairContribution[];
}

/** A fresh agreement that is wanted. */
export interface Renewal {
  readonly peer: Aid;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
  /** SAIDs of the `tun` records. */
  readonly own: Said;
  readonly theirs: Said;
}

export class PairAgreements implements PairKeys {
  readonly #deps: PairAgreementsDeps;
  readonly #agreed = new Map<string, Agreed & { readonly peer: Aid }>();
  readonly #running = new Map<string, Promise<Agreed | undefined>>();
  readonly #listeners = new Set<(aid: Aid, view: TunnelView) => void>();
  readonly #staleListeners = new Set<(peer: PeerKey) => void>();
  /** Views for which a fresh agreement is wanted, by when that was; on disk too. */
  readonly #renewals = new Map<string, Renewal>();
  readonly #runsOf: Allowance<Aid>;
  readonly #broughtBy: Allowance<Aid>;
  /** Since when, or since it was last asked, the end that has to begin has not; monotonic. */
  readonly #lacking = new Map<Aid, number>();
  #runs = 0;

  private constructor(deps: PairAgreementsDeps) {
    this.#deps = deps;
    this.#runsOf = new Allowance(deps.clock, RUNS);
    this.#broughtBy = new Allowance(deps.clock, ASKED_AGREEMENTS);
  }

  static async open(deps: PairAgreementsDeps): Promise<PairAgreements> {
    const agreements = new PairAgreements(deps);
    const since = deps.clock.monotonic();
    for await (const [key, remembered] of deps.table.entries<Remembered>('agreed.')) {
      const name = key.slice('agreed.'.length);
      const agreed = agreedOf(remembered, since);
      agreements.#agreed.set(name, agreed);
      deps.epochKeys.remember(name, agreed.th);
    }
    for await (const [key, renewal] of deps.table.entries<Renewal>('renew.'))
      agreements.#renewals.set(key.slice('renew.'.length), renewal);
    return agreements;
  }

  /** Agreements made since the start, as either end: none after a restart that found everything. */
  get runs(): number {
    return this.#runs;
  }

  start(): void {
    this.#deps.network.handle(agreementProtocol, agreementLimits, async (stream) => {
      try {
        await runResponder(stream, this.#responder());
      } catch (error) {
        this.#failed(this.#deps.directory.aidOf(stream.peer), error);
      }
    });
  }

  /** Called when the two ends hold different views, so that a session with the peer is wanted. */
  onStale(listener: (peer: PeerKey) => void): void {
    this.#staleListeners.add(listener);
  }

  onAgreed(listener: (aid: Aid, view: TunnelView) => void): void {
    this.#listeners.add(listener);
  }

  agreed(aid: Aid, view: TunnelView): Agreed | undefined {
    return this.#agreed.get(viewKey(this.#deps.identity.aid, aid, view));
  }

  async ensure(aid: Aid, view: TunnelView): Promise<Agreed | undefined> {
    const { identity, skewOf } = this.#deps;
    const held = this.agreed(aid, view);
    const key = viewKey(identity.aid, aid, view);
    const wanted = this.#renewals.get(key);
    const isFresh =
      held !== undefined &&
      wanted === undefined &&
      !this.#isBelow(aid, view) &&
      !isDue(held, this.#now(), skewOf(aid));
    if (isFresh) return held;
    if (roleOf(identity.aid, aid) === 'responder') {
      if (held === undefined) await this.#askForOne(aid, view);
      else if (wanted !== undefined) await this.#deps.askRenewal(aid, view, held.th);
      return this.agreed(aid, view);
    }
    const running =
      this.#running.get(key) ?? this.#initiate(aid, view).finally(() => this.#running.delete(key));
    this.#running.set(key, running);
    return running;
  }

  /** The end that begins may hold an agreement that this one has lost, as after it left the mesh and came back, and would never begin. */
  async #askForOne(aid: Aid, view: TunnelView): Promise<void> {
    const { clock, directory, askRenewal } = this.#deps;
    const now = clock.monotonic();
    const since = this.#lacking.get(aid) ?? now;
    this.#lacking.set(aid, since);
    if (now - since < LACKING_MS || directory.peerOf(aid) === undefined) return;
    this.#lacking.set(aid, now);
    await askRenewal(aid, view, NO_AGREEMENT).catch((error: unknown) => this.#failed(aid, error));
  }

  /** Fresh agreements that are wanted and not made yet. */
  get renewals(): readonly Renewal[] {
    return [...this.#renewals.values()];
  }

  /**
   * Replaces the agreement of `view` by a fresh one, now or as soon as the peer is there: that it is wanted is on disk.
   * @param pauseMs one that is younger counts as fresh  @returns the agreement in force then
   */
  async renew(aid: Aid, view: TunnelView, pauseMs: number): Promise<Agreed | undefined> {
    const { identity, clock, table } = this.#deps;
    const held = this.agreed(aid, view);
    if (held === undefined || ageMs(held, this.#now()) < pauseMs) return held;
    const key = viewKey(identity.aid, aid, view);
    const renewal = this.#renewals.get(key) ?? {
      peer: aid,
      since: clock.now(),
      own: view.own,
      theirs: view.peer,
    };
    this.#renewals.set(key, renewal);
    await table.put({ [`renew.${key}`]: renewal });
    return this.ensure(aid, view);
  }

  /** As {@link renew}, asked for by `aid`. Throws AGREEMENT_TOO_MANY. */
  async renewFor(aid: Aid, view: TunnelView, pauseMs: number): Promise<Agreed | undefined> {
    if (!this.#broughtBy.take(aid)) throw tooMany(aid);
    return this.renew(aid, view, pauseMs);
  }

  /** A view whose key lacks what the policy requires has none: it stays down until one is agreed that does not. */
  take(views: readonly (readonly [Aid, TunnelView])[]): Promise<HeldKeys> {
    return this.#deps.epochKeys.take(views.filter(([aid, view]) => !this.#isBelow(aid, view)));
  }

  #isBelow(aid: Aid, view: TunnelView): boolean {
    const agreed = this.agreed(aid, view);
    return agreed !== undefined && !this.#deps.edges.suffices(aid, agreed.sources);
  }

  /**
   * The other end is at `epoch` of the agreement `th`. At a boundary this end follows, or tells the other to; else they agree afresh.
   * Throws what {@link renew} throws.
   */
  async compare(aid: Aid, view: TunnelView, th: Uint8Array, epoch: number): Promise<void> {
    // What it says may be untrue, and each agreement is a leaf.
    if ((await this.#deps.epochKeys.compare(aid, view, th, epoch)) === 'apart')
      await this.renewFor(aid, view, AFRESH_PAUSE_MS);
  }

  async retire(aid: Aid, keep: readonly TunnelView[]): Promise<void> {
    const { identity, table, store } = this.#deps;
    const kept = new Set(keep.map((view) => viewKey(identity.aid, aid, view)));
    for (const [key, { peer }] of this.#agreed) {
      if (peer !== aid || kept.has(key)) continue;
      this.#agreed.delete(key);
      this.#deps.epochKeys.retire(key);
      this.#renewals.delete(key);
      const [lower, higher] = key.split('.') as [TunnelView['own'], TunnelView['own']];
      const view = identity.aid < aid ? { own: lower, peer: higher } : { own: higher, peer: lower };
      await store.remove(pairKey(agreementPair(this.#deps, aid, view)));
      await table.put({ [`agreed.${key}`]: undefined, [`renew.${key}`]: undefined });
    }
  }

  async #initiate(aid: Aid, view: TunnelView): Promise<Agreed | undefined> {
    const { directory, network, clock, agreement, store } = this.#deps;
    const peer = directory.peerOf(aid);
    const terms = await this.#view(aid, view);
    if (peer === undefined || terms === undefined) return undefined;
    const edge = this.#deps.edges.of(aid);
    if (edge.kind !== 'open') return undefined;
    const policy = {
      ...this.#policy(edge.terms),
      baseEpoch: this.#deps.epochKeys.baseEpoch(aid),
    };
    using initiator = new Initiator(agreement, terms, policy);
    const stream = await network.open(peer, agreementProtocol, agreementLimits);
    const outcome = await runInitiator(stream, initiator, clock);
    if (outcome.kind === 'refused') {
      // A peer that does not know this end yet, or not its newest keys, lacks what a session brings.
      if (STALE.has(outcome.refusal.code)) this.#stale(peer);
      throw new AgreementError(outcome.refusal.code, `${aid} refused`);
    }
    await this.#keep(aid, view, outcome.agreement, (kept) => store.put(kept));
    return this.agreed(aid, view);
  }

  #stale(peer: PeerKey): void {
    for (const listener of this.#staleListeners) listener(peer);
  }

  #responder(): ResponderDeps {
    const { agreement, clock, time, directory, identity, store, views, edges } = this.#deps;
    return {
      ...agreement,
      clock,
      now: () => time.now(),
      view: async (terms, peer) => {
        const aid = directory.aidOf(peer);
        if (aid === undefined || aid !== terms.initiator.aid) return undefined;
        const edge = edges.of(aid);
        if (edge.kind !== 'open') return undefined;
        if (!this.#runsOf.take(aid) || !this.#broughtBy.has(aid)) throw tooMany(aid);
        const newest = views.newest(aid);
        const view = newest && (await this.#view(aid, newest));
        if (newest === undefined || view === undefined) return undefined;
        if (
          terms.initiator.tunnelRecord !== newest.peer ||
          terms.responder.tunnelRecord !== newest.own
        )
          this.#stale(peer);
        return { view, policy: this.#policy(edge.terms) };
      },
      accept: async (made) => {
        const view = {
          own: made.pair.responder.tunnelRecord,
          peer: made.pair.initiator.tunnelRecord,
        };
        if (made.pair.responder.aid !== identity.aid)
          throw new AgreementError('AGREEMENT_WRONG_ROLE', 'the agreement is not of this end');
        if (!this.#broughtBy.take(made.pair.initiator.aid)) throw tooMany(made.pair.initiator.aid);
        await this.#keep(made.pair.initiator.aid, view, made, (kept) => store.put(kept));
      },
    };
  }

  /** Leaf first, then the sealed chain, then the memory of it, then use. */
  async #keep(
    aid: Aid,
    view: TunnelView,
    agreement: Agreement,
    put: (agreement: Agreement) => Promise<void>,
  ): Promise<void> {
    const { clock, table, identity, recorded, records, journal } = this.#deps;
    await records.retain([view.own, view.peer]);
    await recorded(aid, agreement.th, agreement.baseEpoch);
    await put(agreement);
    const key = viewKey(identity.aid, aid, view);
    const at = clock.now();
    const { steady, monotonic: since } = this.#now();
    const th = Buffer.from(agreement.th).toString('hex');
    const remembered: Remembered = { th, at, steady, peer: aid, with: agreement.contributions };
    // Whatever was wanted for keys of the pair before: this one is as fresh.
    const done = [...this.#renewals].filter(([, { peer }]) => peer === aid).map(([name]) => name);
    await table.put({
      [`agreed.${key}`]: remembered,
      ...Object.fromEntries(done.map((name) => [`renew.${name}`, undefined])),
    });
    this.#agreed.set(key, agreedOf(remembered, since));
    this.#lacking.delete(aid);
    this.#deps.epochKeys.renewed(aid, key, agreement.th);
    for (const name of done) this.#renewals.delete(name);
    this.#runs += 1;
    journal.info('psk.agreed', { aid, epoch: agreement.baseEpoch, th: th.slice(0, 16) });
    for (const listener of this.#listeners) listener(aid, view);
  }

  #now(): TimeNow {
    return { monotonic: this.#deps.clock.monotonic(), steady: this.#deps.time.now() };
  }

  /** Undefined while one of the two is not on the keys that its log now has. */
  async #view(aid: Aid, view: TunnelView): Promise<AgreementEnds | undefined> {
    const { membership, identity, kel, records, ownKeys } = this.#deps;
    const { state } = identity;
    const peerState = kel.state(aid);
    const own = await ownKeys.load(view.own);
    const record = records.get(view.peer)?.record as Verified<TunRecord> | undefined;
    if (peerState === undefined || record?.t !== 'tun') return undefined;
    if (
      own.record.es.d !== state.establishment.said ||
      record.es.d !== peerState.establishment.said
    )
      return undefined;
    const local: LocalEnd = {
      aid: identity.aid,
      establishment: state.establishment,
      tunnelRecord: view.own,
      keys: state.keys,
      signingThreshold: state.signingThreshold,
      mlKemSeed: own.mlKemSeed,
      sign: (message) => identity.sign(message),
    };
    const peer: OtherEnd = {
      aid,
      establishment: peerState.establishment,
      tunnelRecord: view.peer,
      keys: peerState.keys,
      signingThreshold: peerState.signingThreshold,
      mlKemPublicKey: record.kem['ml-kem-1024'],
    };
    return { mesh: membership.mesh ?? '', local, peer };
  }

  /** The same at both ends, and part of what they sign. */
  #policy({ offered }: PairPolicyTerms): PairPolicy {
    return {
      contributions: permittedContributions(offered),
      epochSeconds: this.#deps.epochKeys.epochSeconds,
    };
  }

  #failed(aid: Aid | undefined, error: unknown): void {
    this.#deps.journal.failed('psk.failed', error, { aid: aid ?? 'unknown' });
  }
}

/** @param since see {@link Agreed} */
function agreedOf(remembered: Remembered, since: number) {
  const { th, at, steady = at, peer, with: contributions = requiredContributions } = remembered;
  return {
    th: new Uint8Array(Buffer.from(th, 'hex')),
    at,
    steady,
    since,
    peer,
    sources: sourcesOf(contributions),
  };
}

function tooMany(aid: Aid): AgreementError {
  return new AgreementError('AGREEMENT_TOO_MANY', `${aid} asks for fresh agreements too often`);
}
