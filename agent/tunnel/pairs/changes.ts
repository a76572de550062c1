/**
 * Moves each pair to the newest keys of both ends: agrees, stages the new view beside the old at both ends, routes to it when
 * it has shaken hands, and lets the old one go when nothing comes on it any more. What is under way is on disk, in `pair.ts`;
 * after a restart, or when the other end went away, it goes on from there.
 */
import type { Aid } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import type { Rng } from '#src/rng';
import type { Identity } from '../../identity/own/identity.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import type { PeerDirectory } from '../../mesh/sync/peer-directory.ts';
import type { MessageStream, Network } from '../../network/network.ts';
import {
  changeOverLimits,
  changeOverProtocol,
  type FollowingSteps,
  HANDSHAKE_MS,
  type Prepare,
  type Prepared,
  runFollowing,
  runLeading,
} from './change-over.ts';
import { TunnelError } from './errors.ts';
import type { ActiveView, DrainingView, Pair } from './pair.ts';
import type { Agreed, PairKeys } from './pair-keys.ts';
import { type Reconciler, usedViews } from './reconciler.ts';
import { IN_FLIGHT_MS } from './room.ts';
import { type PlacedView, sameView, type TunnelView } from './view.ts';
import type { Views } from './views.ts';

export interface ChangesDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly pairKeys: PairKeys;
  readonly views: Views;
  readonly reconciler: Reconciler;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Journal;
  /** A view became active, and its handshake was seen. */
  readonly established: (pair: Pair, view: ActiveView) => void;
  readonly reached: (pair: Pair, step: ReceiptStep, view: PlacedView, other: TunnelView) => void;
}

/** The last step of a change that failed. */
export interface StepFailure {
  readonly code: string;
  readonly message: string;
  /** The code with which the other end refused; undefined: it did not. */
  readonly refusal: string | undefined;
}

export type ReceiptStep = 'staged' | 'warmed' | 'flipped' | 'drained';

export interface ChangesSettings {
  /** How long the former view of a tunnel stays, in milliseconds. */
  readonly drainMs: number;
  /** How long a change waits for a peer that cannot be reached before its former key may go, in milliseconds. */
  readonly changeMs: number;
}

const HANDSHAKE_POLL_MS = 50;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** A session is renewed after 120 s and ends after 180 s (WireGuard whitepaper 6.1): a handshake this old still carries traffic. */
const SESSION_MS = 150_000;
/** The end that waits for the other to lead does so itself after this. */
const PATIENCE_MS = 10_000;

export class Changes {
  readonly #deps: ChangesDeps;
  readonly #settings: ChangesSettings;
  readonly #driving = new Map<Aid, { again: boolean }>();
  /** Peers with which the handshake did not come: the other end begins the next one. */
  readonly #deaf = new Set<Aid>();
  /** What failed last with a peer, until a view of it flips. */
  readonly #failures = new Map<Aid, StepFailure>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: ChangesDeps, settings: ChangesSettings) {
    this.#deps = deps;
    this.#settings = settings;
  }

  start(signal: AbortSignal): void {
    const { network, reconciler } = this.#deps;
    this.#signal = signal;
    network.handle(changeOverProtocol, changeOverLimits, (stream) => this.#answer(stream));
    for (const pair of reconciler.pairs.values())
      for (const view of pair.draining) void this.#drain(pair, view);
  }

  /** Why the last step with `aid` failed; undefined when none has since its tunnel came up. */
  failureOf(aid: Aid): StepFailure | undefined {
    return this.#failures.get(aid);
  }

  /** Something about `aid` may have changed: its keys, its endpoints, the agreement, the connection. */
  poke(aid: Aid): void {
    if (this.#signal.aborted) return;
    const driving = this.#driving.get(aid);
    if (driving !== undefined) {
      driving.again = true;
      return;
    }
    this.#driving.set(aid, { again: false });
    void this.#drive(aid).finally(() => this.#driving.delete(aid));
  }

  /** The newest keys of both ends are `view`. */
  async want(pair: Pair, view: TunnelView): Promise<void> {
    const before = pair.draining.length;
    await pair.want(view, this.#deps.clock.now(), this.#settings.changeMs);
    const setAside = pair.draining.at(-1);
    if (pair.draining.length > before && setAside !== undefined) void this.#drain(pair, setAside);
  }

  /** Agrees and changes over until the pair is on its newest view or has to wait for something that pokes again. */
  async #drive(aid: Aid): Promise<void> {
    const { clock, membership } = this.#deps;
    for (let failures = 0; !this.#signal.aborted; ) {
      const driving = this.#driving.get(aid);
      if (driving !== undefined) driving.again = false;
      try {
        if (!membership.others().some((member) => member.aid === aid)) return;
        const isDone = await this.#step(aid);
        if (isDone && driving?.again !== true) return;
        failures = 0;
        if (!isDone) await clock.sleep(RETRY_MS, this.#signal);
      } catch (error) {
        if (this.#signal.aborted) return;
        failures += 1;
        this.#report('tunnel.retry', error, aid);
        this.#failures.set(aid, failureOf(error));
        await clock.sleep(this.#pauseMs(failures), this.#signal).catch(() => undefined);
      }
    }
  }

  /** Of uneven length: two ends that lead at one time refuse each other, and must not do so for ever. */
  #pauseMs(failures: number): number {
    const [byte = 0] = this.#deps.rng.bytes(1);
    return Math.min(RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS) * (0.5 + byte / 256);
  }

  /** @returns whether there is nothing more to do by itself */
  async #step(aid: Aid): Promise<boolean> {
    const { reconciler, views, directory, pairKeys, identity, clock } = this.#deps;
    // A device that cannot be made keeps nobody from agreeing: the other end hears why when it comes to the tunnel.
    const failure = await reconciler.reconcile().catch((error: unknown) => error);
    const pair = reconciler.pairs.get(aid);
    const view = views.newest(aid);
    if (pair === undefined || view === undefined || pair.isExchanging) return true;
    // An exchange that broke off has staged it: the device shows whether it shook hands, whoever is there to talk to.
    if (sameView(pair.staged, view) && (await this.#hasSession(pair))) await this.#flip(pair);
    if (directory.peerOf(aid) === undefined) return pair.staged === undefined;
    const agreed = await pairKeys.ensure(aid, view);
    if (failure !== undefined) throw failure;
    if (agreed === undefined) return true;
    await reconciler.reconcile();
    const isOnNewest = sameView(pair.active, view);
    if (isOnNewest && pair.draining.every(({ isConfirmed }) => isConfirmed)) return true;
    const former = isOnNewest ? pair.draining.at(-1) : pair.active;
    if (leads(identity.aid < aid, former, view) || clock.now() - agreed.at > PATIENCE_MS) {
      await this.#lead(pair, view, agreed);
      return true;
    }
    return false;
  }

  async #lead(pair: Pair, view: TunnelView, { th }: Agreed): Promise<void> {
    const { directory, network, clock, reconciler } = this.#deps;
    const peer = directory.peerOf(pair.aid);
    if (peer === undefined || pair.isExchanging) return;
    pair.isExchanging = true;
    let stream: MessageStream | undefined;
    try {
      const place = await this.#stage(pair, view, 0, this.#wouldBegin(pair));
      stream = await network.open(peer, changeOverProtocol, changeOverLimits);
      const { own: leading, peer: following } = view;
      await runLeading(
        stream,
        clock,
        { leading, following, th, ...place },
        {
          prepared: async ({ port, begins }) => {
            await this.#stage(pair, view, port, !begins);
          },
          flip: () => this.#flipWhenWarm(pair, view),
          confirmed: () => pair.confirm(),
        },
      );
      this.#deaf.delete(pair.aid);
      await reconciler.reconcile();
    } catch (error) {
      stream?.abort(error as Error);
      // Perhaps only the other end can begin: it stands behind a NAT that lets nobody in.
      if (isNoHandshake(error) && !this.#deaf.delete(pair.aid)) this.#deaf.add(pair.aid);
      throw error;
    } finally {
      pair.isExchanging = false;
    }
  }

  async #answer(stream: MessageStream): Promise<void> {
    const { directory, clock, reconciler } = this.#deps;
    const aid = directory.aidOf(stream.peer);
    const pair = aid === undefined ? undefined : reconciler.pairs.get(aid);
    if (pair === undefined)
      return stream.abort(new TunnelError('TUNNEL_REFUSED', 'the peer is not a member'));
    const exchange = { isOurs: false };
    try {
      await runFollowing(stream, clock, this.#following(pair, exchange));
    } catch (error) {
      stream.abort(error as Error);
      this.#report('tunnel.change-failed', error, pair.aid);
    } finally {
      // One that was refused because another is under way leaves that one alone.
      if (exchange.isOurs) pair.isExchanging = false;
      this.poke(pair.aid);
    }
  }

  #following(pair: Pair, exchange: { isOurs: boolean }): FollowingSteps {
    let view: TunnelView | undefined;
    return {
      stage: async (prepare) => {
        if (pair.isExchanging)
          throw new TunnelError('TUNNEL_BUSY', 'a change of this pair is under way');
        view = this.#checked(pair, prepare);
        pair.isExchanging = true;
        exchange.isOurs = true;
        return this.#stage(pair, view, prepare.port, !prepare.begins);
      },
      flip: () => this.#flipWhenWarm(pair, view),
      confirmed: () => pair.confirm(),
    };
  }

  #checked(pair: Pair, prepare: Prepare): TunnelView {
    const view = this.#deps.views.newest(pair.aid);
    if (view === undefined || view.own !== prepare.following || view.peer !== prepare.leading) {
      throw new TunnelError(
        'TUNNEL_REFUSED',
        'the keys named are not the newest that this end knows',
      );
    }
    const agreed = this.#deps.pairKeys.agreed(pair.aid, view);
    if (agreed === undefined || !equalBytes(agreed.th, prepare.th))
      throw new TunnelError(
        'TUNNEL_REFUSED',
        'the agreement named is not the one that this end confirmed',
      );
    return view;
  }

  /** As before, where that has worked: only one end may be reachable. */
  #wouldBegin({ aid, active }: Pair): boolean {
    return (active?.initiates ?? false) !== this.#deaf.has(aid);
  }

  /** Once more changes nothing but what the other end says of itself. @param port of the other end; 0: not known yet */
  async #stage(pair: Pair, view: TunnelView, port: number, initiates: boolean): Promise<Prepared> {
    const { reconciler } = this.#deps;
    const { active, staged } = pair;
    if (active !== undefined && sameView(active, view))
      return { port: reconciler.portOf(active), begins: active.initiates };
    await this.want(pair, view);
    await reconciler.stage(pair, view, port, initiates);
    const placed = pair.staged;
    if (placed === undefined) throw new TunnelError('TUNNEL_BUSY', 'newer keys have come');
    if (!sameView(staged, view) && active !== undefined)
      this.#deps.reached(pair, 'staged', placed, active);
    return { port: reconciler.portOf(placed), begins: initiates };
  }

  async #flipWhenWarm(pair: Pair, view: TunnelView | undefined): Promise<void> {
    const { clock } = this.#deps;
    for (const end = clock.monotonic() + HANDSHAKE_MS; pair.staged !== undefined; ) {
      if (await this.#hasSession(pair)) return this.#flip(pair);
      if (clock.monotonic() >= end)
        throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no handshake within ${HANDSHAKE_MS} ms`);
      await clock.sleep(HANDSHAKE_POLL_MS, this.#signal);
    }
    if (!sameView(pair.active, view))
      throw new TunnelError('TUNNEL_BUSY', 'newer keys have come, or these were revoked');
  }

  async #hasSession({ staged }: Pair): Promise<boolean> {
    if (staged === undefined) return false;
    const { reconciler, clock } = this.#deps;
    const { lastHandshake = 0 } = (await reconciler.peerState(staged)) ?? {};
    return lastHandshake > clock.now() - SESSION_MS;
  }

  /** The route points to the new device; the former goes on taking packets. */
  async #flip(pair: Pair): Promise<void> {
    const { clock, reconciler, established, reached, journal } = this.#deps;
    const now = clock.now();
    await pair.flip(now, now + this.#settings.drainMs);
    const { active } = pair;
    if (active === undefined) return;
    await reconciler.reconcileSlot(active.slot);
    const former = pair.draining.at(-1);
    if (former !== undefined && active.generation > 1) {
      reached(pair, 'warmed', active, former);
      reached(pair, 'flipped', active, former);
      void this.#drain(pair, former);
    }
    this.#failures.delete(pair.aid);
    journal.info('tunnel.up', { aid: pair.aid, generation: active.generation });
    established(pair, active);
  }

  /**
   * Lets `view` go when the other end has flipped too and nothing has come on it for a while: what comes later than packets on
   * their way was sent by an end that still routes to it. One that never confirms has time until the deadline of the change.
   */
  async #drain(pair: Pair, view: DrainingView): Promise<void> {
    const { clock, reconciler, pairKeys, reached } = this.#deps;
    const { drainMs } = this.#settings;
    const find = () =>
      pair.draining.find((other) => sameView(other, view) && other.slot === view.slot);
    const received = async (at: DrainingView) =>
      Number((await reconciler.peerState(at).catch(() => undefined))?.rxBytes ?? 0n);
    try {
      if (view.rxBytes < 0) {
        await clock.sleep(Math.min(IN_FLIGHT_MS, drainMs / 2), this.#signal);
        const now = find();
        if (now !== undefined) await pair.drainOn(now, now.until, await received(now));
      }
      // What is on disk is of the clock, which may be set meanwhile: here it counts once, and no longer than was ever meant.
      const leftMs = Math.min(view.deadline - clock.now(), this.#settings.changeMs);
      const end = clock.monotonic() + leftMs;
      for (let now = find(); now !== undefined; now = find()) {
        const waitMs = Math.min(now.until - clock.now(), drainMs);
        await clock.sleep(Math.max(0, waitMs), this.#signal);
        now = find();
        if (now === undefined) return;
        const rxBytes = await received(now);
        const isSilent = rxBytes === now.rxBytes && now.isConfirmed;
        if (!isSilent && clock.monotonic() < end) {
          await pair.drainOn(now, clock.now() + drainMs, rxBytes);
          continue;
        }
        if (pair.active !== undefined) reached(pair, 'drained', now, pair.active);
        await pair.drained(now);
        await pairKeys.retire(pair.aid, usedViews(pair));
        await reconciler.reconcile();
      }
    } catch (error) {
      this.#report('tunnel.drain-failed', error, pair.aid);
    }
  }

  #report(event: string, error: unknown, aid: Aid): void {
    if (this.#signal.aborted) return;
    const { code, message } = error as { code?: string; message: string };
    this.#deps.journal.warn(event, { aid, code: code ?? 'none', message });
  }
}

/** The end whose key is new; of two new keys, or for the first tunnel, that with the lower AID. */
function leads(isLower: boolean, former: TunnelView | undefined, view: TunnelView): boolean {
  const ownIsNew = former?.own !== view.own;
  const peerIsNew = former?.peer !== view.peer;
  return ownIsNew && (!peerIsNew || isLower);
}

function failureOf(error: unknown): StepFailure {
  const { code, message, fields } = error as {
    code?: string;
    message: string;
    fields?: { readonly refusal?: string };
  };
  return { code: code ?? 'none', message: message.slice(0, 200), refusal: fields?.refusal };
}

function isNoHandshake(error: unknown): boolean {
  return (error as { code?: string }).code === 'TUNNEL_NO_HANDSHAKE';
}
