/**
 * Keeps logs and records of all members equal: sessions on connection, on change, and now and then with
 * one peer at random, so that whatever was lost on the way arrives in the end.
 */
import type { Aid } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import { KeyedWork } from '#src/keyed-work';
import type { Rng } from '#src/rng';
import { jittered, ticks } from '#src/ticks';
import { converse, hold, type Manners } from '../../network/conversation.ts';
import type { MessageStream, Network, PeerKey } from '../../network/network.ts';
import { syncFailure } from './failure.ts';
import { Holdings, type HoldingsDeps } from './holdings.ts';
import type { Knocks } from './knocks.ts';
import { syncLimits, syncProtocol } from './messages.ts';
import type { OwnLogComparison } from './own-log-comparison.ts';
import { PeerBinder, type PeerBinderDeps } from './peer-binder.ts';
import { answerSession, openSession } from './session.ts';

/** A session that takes longer is given up and tried again. */
const SESSION_MS = 30_000;
/** A change is pushed this long after it was made, together with what else changed meanwhile. */
const PUSH_DELAY_MS = 20;
/** Anti-entropy: every agent opens a session with one bound peer about this often. */
const EXCHANGE_MS = 20_000;
/** A connected peer that is not bound yet is tried again after this. */
const RETRY_MS = 2_000;
/** Sessions in a row that fail before one with a bound peer waits for the next reason. */
const MAX_ATTEMPTS = 3;
/** Whoever is not bound, and says that something is missing here, makes this end ask a member for it only so often. */
const RUMOURS = { burst: 1, perSecond: 1 / 5 };

const manners: Manners = {
  protocol: syncProtocol,
  limits: syncLimits,
  messageMs: SESSION_MS,
  wholeMs: SESSION_MS,
  failure: syncFailure,
};

export interface SyncDeps extends PeerBinderDeps, HoldingsDeps {
  readonly network: Network;
  readonly rng: Rng;
}

export class Sync {
  readonly #deps: SyncDeps;
  readonly #binder: PeerBinder;
  readonly #holdings: Holdings;
  #sessionsWith: KeyedWork<PeerKey> | undefined;
  #signal: AbortSignal = AbortSignal.abort();
  #pushing = false;
  #sessions = 0;
  readonly #rumours: Allowance<'all'>;

  constructor(deps: SyncDeps) {
    this.#deps = deps;
    this.#rumours = new Allowance<'all'>(deps.clock, RUMOURS);
    this.#binder = new PeerBinder(deps);
    this.#holdings = new Holdings(deps, this.#binder);
  }

  get knocks(): Knocks {
    return this.#binder.knocks;
  }

  /** Sessions ended well since the start. */
  get sessions(): number {
    return this.#sessions;
  }

  /** When `aid` last proved who it is, or its connection ended; milliseconds since the Unix epoch. */
  heardAt(aid: Aid): number | undefined {
    return this.#binder.heardAt(aid);
  }

  skewOf(aid: Aid): number | undefined {
    return this.#holdings.skewOf(aid);
  }

  /** As {@link Holdings.onExchanged}. */
  onExchanged(listener: (aid: Aid) => void): void {
    this.#holdings.onExchanged(listener);
  }

  onBound(listener: (aid: Aid) => void): void {
    this.#binder.onBound(listener);
  }

  /** Called when another end did not take this organisation for a member; `by` is what it says to be. */
  onRefused(listener: (by: Aid, code: string, peer: PeerKey) => void): void {
    this.#holdings.onRefused(listener);
  }

  /** As {@link PeerBinder.takePassedOn}. */
  takePassedOn(
    via: Aid,
    log: Uint8Array,
    endpoints: Uint8Array,
    name: string | undefined,
  ): Promise<Aid> {
    return this.#binder.takePassedOn(via, log, endpoints, name);
  }

  /** Addresses of a member that two agents speak for; undefined: one does, as far as is known. */
  placesOf(aid: Aid): readonly string[] | undefined {
    return this.#binder.placesOf(aid);
  }

  /** Of the own log with what members hold of it. */
  get comparison(): OwnLogComparison {
    return this.#holdings.comparison;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.#sessionsWith = this.#work(signal);
    this.comparison.start(signal);
    const { network } = this.#deps;
    network.handle(syncProtocol, syncLimits, (stream) => this.#answer(stream));
    network.listen({
      connected: (peer) => this.#connected(peer),
      disconnected: (peer) => {
        this.#sessionsWith?.forget(peer);
        this.#binder.disconnected(peer);
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

  /** Someone holds events that are missing here: `author` if it is a member that is connected, else whoever is. */
  catchUp(author: PeerKey): void {
    const bound = this.#deps.network.peers().filter((peer) => this.#concerns(peer));
    if (bound.includes(author)) {
      this.request(author);
      return;
    }
    const [peer] = bound;
    if (peer !== undefined && this.#rumours.take('all')) this.request(peer);
  }

  /** A session with `peer`, now or right after the one that runs. */
  request(peer: PeerKey): void {
    this.#sessionsWith?.poke(peer);
  }

  #concerns(peer: PeerKey): boolean {
    const { directory, membership, records } = this.#deps;
    const aid = directory.aidOf(peer);
    if (aid !== undefined) return membership.maySync(aid);
    // A member that is connected and not bound: it was suspended until now, or this end was at the other.
    if (membership.others().some((member) => records.latest('end', member.aid)?.record.p === peer))
      return true;
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

  #work(signal: AbortSignal): KeyedWork<PeerKey> {
    const { network, clock, directory } = this.#deps;
    return new KeyedWork({
      clock,
      signal,
      run: async (peer) => {
        await converse({ network, clock, signal }, manners, peer, ({ stream }) =>
          openSession(stream, this.#holdings),
        );
        this.#sessions += 1;
        return 'done';
      },
      pauseMs: (failures, peer) =>
        network.peers().includes(peer)
          ? Math.min(RETRY_MS * 2 ** Math.min(failures, 4), EXCHANGE_MS)
          : undefined,
      persists: (failures, peer) => directory.aidOf(peer) === undefined || failures < MAX_ATTEMPTS,
      failed: (peer, error) => this.#failed(peer, error),
    });
  }

  async #answer(stream: MessageStream): Promise<void> {
    const { clock } = this.#deps;
    try {
      await hold(stream, { clock, signal: this.#signal }, manners, () =>
        answerSession(stream, this.#holdings),
      );
      this.#sessions += 1;
    } catch (error) {
      this.#failed(stream.peer, error);
    }
  }

  #failed(peer: PeerKey, error: unknown): void {
    if (this.#signal.aborted) return;
    this.#deps.journal.failed('sync.failed', error, { peer }, 'debug');
  }

  async #exchangeLoop(signal: AbortSignal): Promise<void> {
    const { clock, rng, network, membership, journal } = this.#deps;
    const pauseMs = () => jittered(EXCHANGE_MS, rng.bytes(1)[0] ?? 0);
    const failed = (error: unknown) => journal.failed('agent.failed', error, {}, 'error');
    await ticks({ clock, signal, pauseMs, failed }, () => {
      const [choice = 0] = rng.bytes(1);
      const concerned = network.peers().filter((peer) => this.#concerns(peer));
      // Who has no charter yet gets it from the governor alone, and must not ask all others in turn.
      const candidates = membership.isIn || concerned.length > 0 ? concerned : network.peers();
      const peer = candidates[choice % Math.max(1, candidates.length)];
      if (peer !== undefined) this.request(peer);
    });
  }
}
