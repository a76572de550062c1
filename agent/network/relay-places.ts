/**
 * The relays through which this node is reached, where nobody reaches it directly: members that serve, up to a few at one time. Each
 * that is connected and wanted is asked for a place; what it answers tells nothing that is believed: addresses are those under which
 * this node has reached it.
 */
import type { Clock } from '#src/clock';
import { mistaken, ticks } from '#src/ticks';
import type { PeerAddress, PeerKey } from './network.ts';

/** Places at one time: whoever looks for this node finds it through any of them. */
const MAX_PLACES = 3;
/** Addresses of one relay, so that each family of addresses and each kind of way has one. */
const MAX_ADDRESSES = 4;
const LOOK_MS = 1_000;
/** Before one that has refused is asked again: it may not know yet that this node is a member. It doubles each time. */
const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 60_000;

export interface RelayPlacesHost {
  readonly clock: Clock;
  readonly self: PeerKey;
  /** Connected members that serve as relays, to which the connection is direct. */
  servers(): Promise<readonly PeerKey[]>;
  /** Whether a place is held at `relay`, over the connection that stands. */
  has(relay: PeerKey): boolean;
  /** Asks for one; rejects when it is refused. */
  reserve(relay: PeerKey): Promise<void>;
  /** Addresses of `relay` at which it is reached directly, best first. */
  addressesOf(relay: PeerKey): readonly PeerAddress[];
  /** A place was given, or lost. */
  changed(): void;
}

export class RelayPlaces {
  readonly #host: RelayPlacesHost;
  readonly #refused = new Map<PeerKey, { readonly until: number; readonly pauseMs: number }>();
  #held: readonly PeerKey[] = [];
  #looking: Promise<void> | undefined;
  #isPoked = false;

  constructor(host: RelayPlacesHost) {
    this.#host = host;
  }

  async run(signal: AbortSignal): Promise<void> {
    const pauseMs = () => LOOK_MS;
    await ticks({ clock: this.#host.clock, signal, pauseMs, failed: mistaken }, () => this.poke());
  }

  /** Somebody has connected, or has become wanted. */
  async poke(): Promise<void> {
    this.#isPoked = true;
    this.#looking ??= this.#lookWhilePoked().finally(() => {
      this.#looking = undefined;
    });
    await this.#looking;
  }

  /** The own addresses through relays. */
  addresses(): readonly PeerAddress[] {
    const { has, addressesOf, self } = this.#host;
    return this.#held
      .filter((relay) => has(relay))
      .flatMap((relay) => addressesOf(relay).slice(0, MAX_ADDRESSES))
      .map((address) => `${address}/p2p-circuit/p2p/${self}` as PeerAddress);
  }

  async #lookWhilePoked(): Promise<void> {
    while (this.#isPoked) {
      this.#isPoked = false;
      await this.#look();
    }
  }

  async #look(): Promise<void> {
    const { clock, servers, has, reserve } = this.#host;
    const held = this.#held.filter((relay) => has(relay));
    if (held.length < this.#held.length) this.#hold(held);
    if (this.#held.length >= MAX_PLACES) return;
    const all = await servers();
    for (const relay of this.#refused.keys()) if (!all.includes(relay)) this.#refused.delete(relay);
    for (const relay of all) {
      if (this.#held.length >= MAX_PLACES) return;
      const refused = this.#refused.get(relay);
      if (this.#held.includes(relay) || (refused?.until ?? 0) > clock.monotonic()) continue;
      try {
        await reserve(relay);
        this.#hold([...this.#held, relay]);
        this.#refused.delete(relay);
      } catch {
        const pauseMs = Math.min(2 * (refused?.pauseMs ?? FIRST_PAUSE_MS / 2), MAX_PAUSE_MS);
        this.#refused.set(relay, { until: clock.monotonic() + pauseMs, pauseMs });
      }
    }
  }

  #hold(relays: readonly PeerKey[]): void {
    this.#held = relays;
    this.#host.changed();
  }
}
