/**
 * Keeps connections alive: bootstrap addresses for ever, peers that this end dialled or discovered, and lost, for a while.
 *
 * One target is dialled after 1 s, 2 s, 4 s … 60 s. A connection that held for a minute sets the wait back, one
 * that breaks at once does not, so a peer that refuses us costs one attempt a minute.
 */
import type { Clock } from '#src/clock';
import type { NetworkDrop, PeerAddress, PeerKey } from './network.ts';
import { peerOf } from './peer-key.ts';

const FIRST_WAIT_MS = 1_000;
const MAX_WAIT_MS = 60_000;
/** A connection that lasted this long counts as good. */
const SETTLED_MS = 60_000;
/** Attempts for a peer that is not a bootstrap peer: about an hour. */
const MAX_ATTEMPTS = 64;
/** Peers, apart from the bootstrap ones, that are remembered; more are not dialled again. */
const MAX_TARGETS = 1_024;

export interface RedialHost {
  readonly clock: Clock;
  /** Dials `addresses`, or what is known of `peer` when there are none. */
  dial(
    peer: PeerKey | undefined,
    addresses: readonly PeerAddress[],
    signal: AbortSignal,
  ): Promise<PeerKey>;
  isConnected(peer: PeerKey): boolean;
  admits(peer: PeerKey): boolean;
  dropped(what: NetworkDrop, peer: PeerKey): void;
}

interface Target {
  readonly bootstrap: boolean;
  peer: PeerKey | undefined;
  addresses: readonly PeerAddress[];
  waitMs: number;
  /** Since the last connection. */
  attempts: number;
  connectedAt: number | undefined;
  /** Set while a loop dials. */
  loop: AbortController | undefined;
}

export class Redialler {
  readonly #host: RedialHost;
  readonly #targets = new Set<Target>();
  readonly #byPeer = new Map<PeerKey, Target>();
  /** Bootstrap peers among these were disconnected on purpose. */
  readonly #dismissed = new Set<PeerKey>();
  readonly #running = new Set<Promise<void>>();
  #closed = false;

  constructor(host: RedialHost) {
    this.#host = host;
  }

  /** Addresses that are dialled for ever, starting now; those of one peer are alternatives. */
  keep(addresses: readonly PeerAddress[]): void {
    for (const address of addresses) {
      const peer = peerOf(address);
      const known = peer && this.#byPeer.get(peer);
      if (known) known.addresses = [...known.addresses, address];
      else this.#add({ bootstrap: true, peer, addresses: [address] });
    }
    for (const target of this.#targets) this.#start(target, 0);
  }

  /** Another way than a connection told of `peer`. */
  discovered(peer: PeerKey, addresses: readonly PeerAddress[]): void {
    if (this.#host.isConnected(peer) || !this.#host.admits(peer)) return;
    const target = this.#byPeer.get(peer) ?? this.#temporary(peer);
    if (!target || target.loop) return;
    if (!target.bootstrap) target.addresses = addresses;
    this.#start(target, target.waitMs === FIRST_WAIT_MS ? 0 : target.waitMs);
  }

  /** @param isOurs this end has dialled; who came by itself is not dialled when it has gone */
  connected(peer: PeerKey, isOurs: boolean): void {
    this.#dismissed.delete(peer);
    const target = this.#byPeer.get(peer) ?? (isOurs ? this.#temporary(peer) : undefined);
    if (!target) return;
    target.connectedAt = this.#host.clock.monotonic();
    target.attempts = 0;
  }

  lost(peer: PeerKey): void {
    const target = this.#byPeer.get(peer);
    if (!target || this.#dismissed.has(peer)) return;
    const lastedMs =
      this.#host.clock.monotonic() - (target.connectedAt ?? Number.POSITIVE_INFINITY);
    if (lastedMs >= SETTLED_MS) target.waitMs = FIRST_WAIT_MS;
    target.connectedAt = undefined;
    this.#start(target, target.waitMs);
  }

  /** Stops dialling `peer` until it is connected again by other means. */
  dismiss(peer: PeerKey): void {
    const target = this.#byPeer.get(peer);
    if (!target) return;
    this.#stop(target);
    if (target.bootstrap) this.#dismissed.add(peer);
    else this.#remove(target);
  }

  /** What has failed may succeed now: no pause any more. */
  hurry(): void {
    for (const target of this.#targets) {
      target.waitMs = FIRST_WAIT_MS;
      target.attempts = 0;
      if (target.loop === undefined) continue;
      this.#stop(target);
      this.#start(target, 0);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const target of this.#targets) this.#stop(target);
    await Promise.all(this.#running);
  }

  #temporary(peer: PeerKey): Target | undefined {
    let count = 0;
    for (const target of this.#targets) if (!target.bootstrap) count += 1;
    if (count >= MAX_TARGETS) {
      this.#host.dropped('redial', peer);
      return undefined;
    }
    return this.#add({ bootstrap: false, peer, addresses: [] });
  }

  #add(init: Pick<Target, 'bootstrap' | 'peer' | 'addresses'>): Target {
    const target: Target = {
      ...init,
      waitMs: FIRST_WAIT_MS,
      attempts: 0,
      connectedAt: undefined,
      loop: undefined,
    };
    this.#targets.add(target);
    if (target.peer) this.#byPeer.set(target.peer, target);
    return target;
  }

  #remove(target: Target): void {
    this.#targets.delete(target);
    if (target.peer) this.#byPeer.delete(target.peer);
  }

  #stop(target: Target): void {
    target.loop?.abort();
    target.loop = undefined;
  }

  #start(target: Target, firstWaitMs: number): void {
    if (this.#closed || target.loop) return;
    const loop = new AbortController();
    target.loop = loop;
    const run = this.#run(target, firstWaitMs, loop.signal)
      .catch(() => undefined) // only the abort of `loop` ends it early
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  async #run(target: Target, firstWaitMs: number, signal: AbortSignal): Promise<void> {
    try {
      if (firstWaitMs > 0) await this.#wait(target, signal);
      while (!(await this.#attempt(target, signal))) await this.#wait(target, signal);
    } finally {
      // Here and not in a callback of the promise: a peer lost in between would never be dialled again.
      if (!signal.aborted) target.loop = undefined;
    }
  }

  async #wait(target: Target, signal: AbortSignal): Promise<void> {
    const waitMs = target.waitMs;
    target.waitMs = Math.min(waitMs * 2, MAX_WAIT_MS);
    await this.#host.clock.sleep(waitMs, signal);
  }

  /** @returns whether there is nothing left to do */
  async #attempt(target: Target, signal: AbortSignal): Promise<boolean> {
    const { peer } = target;
    if (peer && this.#host.isConnected(peer)) return true;
    const admitted = !peer || this.#host.admits(peer);
    target.attempts += 1;
    if (!target.bootstrap && (!admitted || target.attempts > MAX_ATTEMPTS)) {
      this.#remove(target);
      return true;
    }
    return admitted && (await this.#dial(target, signal));
  }

  async #dial(target: Target, signal: AbortSignal): Promise<boolean> {
    let peer: PeerKey;
    try {
      peer = await this.#host.dial(target.peer, target.addresses, signal);
    } catch {
      signal.throwIfAborted();
      return false;
    }
    if (!target.peer) this.#name(target, peer);
    return this.#host.isConnected(peer);
  }

  /** An address without a peer id showed its peer. */
  #name(target: Target, peer: PeerKey): void {
    const known = this.#byPeer.get(peer);
    if (known) {
      this.#stop(known);
      this.#targets.delete(known);
      target.addresses = [...target.addresses, ...known.addresses];
    }
    target.peer = peer;
    target.connectedAt = this.#host.clock.monotonic();
    this.#byPeer.set(peer, target);
  }
}
