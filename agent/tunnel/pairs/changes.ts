/**
 * Moves each pair to the newest keys of both ends: looks how it stands, asks `next-step.ts` what is next, performs that one step,
 * and looks again. A change stages the new view beside the old at both ends and routes to it when it has shaken hands; `drains.ts`
 * lets the old one go. What is under way is on disk, in `pair.ts`: after a restart it goes on from there.
 */
import type { Aid } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';
import type { Clock } from '#src/clock';
import { unreachable } from '#src/errors';
import type { Journal } from '#src/journal';
import { KeyedWork } from '#src/keyed-work';
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
import type { Dormancy } from './dormancy.ts';
import { Drains, type DrainsDeps, type DrainsSettings } from './drains.ts';
import { TunnelError } from './errors.ts';
import type { Handshakes } from './handshakes.ts';
import { nextStep, type PairWorld, type Step } from './next-step.ts';
import type { ActiveView, Pair } from './pair.ts';
import type { Agreed, PairKeys } from './pair-keys.ts';
import type { Reconciler } from './reconciler.ts';
import { type PlacedView, sameView, type TunnelView } from './view.ts';
import type { Views } from './views.ts';

export interface ChangesDeps {
  readonly identity: Identity;
  readonly membership: Membership;
  readonly pairKeys: PairKeys;
  readonly views: Views;
  readonly dormancy: Dormancy;
  readonly reconciler: Reconciler;
  readonly handshakes: Handshakes;
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly journal: Journal;
  /** A view stands on devices at both ends: a way between them is looked for, where the address of the record is none. */
  readonly seekWay?: (aid: Aid, view: PlacedView) => void;
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

export type ChangesSettings = DrainsSettings;

/** How often it is looked whether the view that is waited for is still wanted. */
const STAGED_LOOK_MS = 50;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;
/** A session is renewed after 120 s and ends after 180 s (WireGuard whitepaper 6.1): a handshake this old still carries traffic. */
const SESSION_MS = 150_000;

/** What asking for an agreement has brought: undefined when the other end has to begin. */
interface Asked {
  readonly view: TunnelView;
  readonly agreed: Agreed | undefined;
}

/** How a pair stands at one moment. */
interface Situation {
  readonly pair: Pair | undefined;
  readonly world: PairWorld;
  /** What keeps the own devices from being as they should be. */
  readonly deviceFailure: unknown;
}

export class Changes {
  readonly #deps: ChangesDeps;
  readonly #settings: ChangesSettings;
  readonly #drains: Drains;
  #work: KeyedWork<Aid> | undefined;
  /** Peers with which the handshake did not come: the other end begins the next one. */
  readonly #deaf = new Set<Aid>();
  /** What failed last with a peer, until a view of it flips. */
  readonly #failures = new Map<Aid, StepFailure>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: ChangesDeps, settings: ChangesSettings) {
    this.#deps = deps;
    this.#settings = settings;
    const drained: DrainsDeps['drained'] = (pair, view) => {
      if (pair.active !== undefined) deps.reached(pair, 'drained', view, pair.active);
    };
    this.#drains = new Drains({ ...deps, drained }, settings);
  }

  start(signal: AbortSignal): void {
    const { network, clock } = this.#deps;
    this.#signal = signal;
    network.handle(changeOverProtocol, changeOverLimits, (stream) => this.#answer(stream));
    this.#work = new KeyedWork<Aid>({
      clock,
      signal,
      run: async (aid) => ((await this.#goOn(aid)) === 'wait' ? { afterMs: RETRY_MS } : 'done'),
      pauseMs: (failures) => this.#pauseMs(failures),
      failed: (aid, error) => {
        this.#report('tunnel.retry', error, aid);
        this.#failures.set(aid, failureOf(error));
      },
    });
    this.#drains.start(signal);
  }

  /** The devices have been brought to what is wanted: views that were set aside there drain from now on. */
  reconciled(): void {
    this.#drains.follow();
  }

  /** Why the last step with `aid` failed; undefined when none has since its tunnel came up. */
  failureOf(aid: Aid): StepFailure | undefined {
    return this.#failures.get(aid);
  }

  /** Something about `aid` may have changed: its keys, its endpoints, the agreement, the connection. */
  poke(aid: Aid): void {
    this.#work?.poke(aid);
  }

  /** Of uneven length: two ends that lead at one time refuse each other, and must not do so for ever. */
  #pauseMs(failures: number): number {
    const [byte = 0] = this.#deps.rng.bytes(1);
    return Math.min(RETRY_MS * 2 ** (failures - 1), MAX_RETRY_MS) * (0.5 + byte / 256);
  }

  /** Performs step after step, each decided from how things stand after the one before, until there is nothing to do but to wait. */
  async #goOn(aid: Aid): Promise<'rest' | 'wait'> {
    for (let asked: Asked | undefined; ; ) {
      const { pair, world, deviceFailure } = await this.#look(aid, asked);
      if (pair !== undefined && this.#deps.dormancy.isAsleep(aid, pair)) return 'rest';
      const step = nextStep(pair, world, this.#deps.clock.monotonic());
      this.#deps.journal.debug('tunnel.step', { aid, step: `${step.kind}: ${step.why}` });
      if (step.kind === 'rest' || step.kind === 'wait' || pair === undefined)
        return step.kind === 'wait' ? 'wait' : 'rest';
      if (step.kind === 'fail') throw deviceFailure;
      asked = (await this.#perform(pair, step, asked?.agreed)) ?? asked;
    }
  }

  async #look(aid: Aid, asked: Asked | undefined): Promise<Situation> {
    const { reconciler, views, directory, identity, membership } = this.#deps;
    const isMember = membership.standing.other(aid) !== undefined;
    const deviceFailure = isMember
      ? await reconciler.reconcile().catch((error: unknown) => error)
      : undefined;
    this.#drains.follow();
    const pair = isMember ? reconciler.pairs.get(aid) : undefined;
    const staged = pair?.staged;
    const isWarm = pair !== undefined && (await this.#hasSession(pair));
    // Nothing is awaited from here on: all of it is of one moment.
    const newest = views.newest(aid);
    const isAsked = asked !== undefined && sameView(asked.view, newest);
    return {
      pair,
      deviceFailure,
      world: {
        newest,
        isLower: identity.aid < aid,
        isConnected: directory.peerOf(aid) !== undefined,
        isWarm: isWarm && sameView(pair.staged, staged),
        agreement: isAsked ? (asked.agreed ?? 'none') : 'unasked',
        areDevicesMade: deviceFailure === undefined,
      },
    };
  }

  /** @returns what was asked for, where the step was to ask */
  async #perform(
    pair: Pair,
    step: Exclude<Step, { readonly kind: 'rest' | 'wait' | 'fail' }>,
    agreed: Agreed | undefined,
  ): Promise<Asked | undefined> {
    switch (step.kind) {
      case 'flip':
        await this.#flip(pair);
        return undefined;
      case 'agree':
        return {
          view: step.view,
          agreed: await this.#deps.pairKeys.ensure(pair.aid, step.view),
        };
      case 'lead':
        if (agreed !== undefined) await this.#lead(pair, step.view, agreed);
        return undefined;
      default:
        return unreachable(step);
    }
  }

  async #lead(pair: Pair, view: TunnelView, { th }: Agreed): Promise<void> {
    const { directory, network, clock } = this.#deps;
    const peer = directory.peerOf(pair.aid);
    if (peer === undefined || pair.isExchanging) return;
    pair.isExchanging = true;
    try {
      const place = await this.#stage(pair, view, 0, this.#wouldBegin(pair));
      const stream = await network.open(peer, changeOverProtocol, changeOverLimits);
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
    } catch (error) {
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
    await reconciler.stage(pair, view, port, initiates);
    this.#drains.follow();
    const placed = pair.staged;
    if (placed === undefined) throw new TunnelError('TUNNEL_BUSY', 'newer keys have come');
    if (!sameView(staged, view) && active !== undefined)
      this.#deps.reached(pair, 'staged', placed, active);
    return { port: reconciler.portOf(placed), begins: initiates };
  }

  async #flipWhenWarm(pair: Pair, view: TunnelView | undefined): Promise<void> {
    const { clock, handshakes, reconciler } = this.#deps;
    const end = clock.monotonic() + HANDSHAKE_MS;
    if (pair.staged !== undefined) this.#deps.seekWay?.(pair.aid, pair.staged);
    using wait = handshakes.wait(pair.staged && reconciler.placeOf(pair.staged));
    for (let isNews = true; pair.staged !== undefined; ) {
      const isLast = clock.monotonic() >= end;
      if ((isNews || isLast) && (await this.#hasSession(pair))) return this.#flip(pair);
      if (isLast)
        throw new TunnelError('TUNNEL_NO_HANDSHAKE', `no handshake within ${HANDSHAKE_MS} ms`);
      // No device tells that keys were revoked: that much is looked at anyway, without asking it.
      const leftMs = Math.max(0, end - clock.monotonic());
      isNews = await wait.next(Math.min(leftMs, STAGED_LOOK_MS), this.#signal);
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
    }
    this.#drains.follow();
    this.#failures.delete(pair.aid);
    journal.info('tunnel.up', { aid: pair.aid, generation: active.generation });
    established(pair, active);
  }

  #report(event: string, error: unknown, aid: Aid): void {
    if (!this.#signal.aborted) this.#deps.journal.failed(event, error, { aid });
  }
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
