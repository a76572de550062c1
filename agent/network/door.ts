/**
 * Who is let in. Before its handshake a connection has one of a few places; after it a peer that is wanted stays, and strangers
 * share a part of all connections. So nobody who says nothing, and no crowd of strangers, keeps a member out; what this end
 * dials itself asks for no place at all.
 */

import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { Favour, PeerKey } from './network.ts';
import { type Held, Places, sourceOf, whoGivesWay } from './places.ts';

export interface DoorLimits {
  /** Connections in all. */
  readonly maxConnections: number;
  /** Of these, inbound ones of peers that are not wanted, and of one source. */
  readonly maxStrangers: number;
  readonly maxStrangersPerSource: number;
  /** Inbound connections whose handshake is not done, of sources that are not known, and of one of them. */
  readonly maxPendingInbound: number;
  readonly maxPendingPerSource: number;
  /** Inbound connections per second from one source that is not known; of a known one, four times as many. */
  readonly maxInboundPerSecond: number;
}

/** Connections of one peer: both ends may have dialled, and one that is dead may not be known as such yet. */
const MAX_PER_PEER = 4;
/** Handshakes of sources from which members come, beside those of others. */
const RESERVED = { total: 64, perSource: 32 };
/** A handshake that takes longer gives way to others. */
const PATIENCE_MS = 2_000;
/** A member's attempt takes this part of a stranger's of the rate of its source. */
const KNOWN_COST = 0.25;

/** An inbound TCP connection. */
export interface Newcomer {
  readonly host: string;
  abort(reason: Error): void;
}

export interface Guest {
  readonly peer: PeerKey;
  /** IP address, or the relay through which it comes; undefined when it is not known. */
  readonly host: string | undefined;
  readonly isInbound: boolean;
  /** Of two, the greater came later. */
  readonly since: number;
}

export class Door {
  readonly #limits: DoorLimits;
  readonly #pending: Places;
  readonly #reserved: Places;
  readonly #rate: Allowance<string>;
  #favour: Favour = { peer: () => false, host: () => false };
  #turnedAway = 0;

  constructor(clock: Clock, limits: DoorLimits) {
    this.#limits = limits;
    const { maxPendingInbound, maxPendingPerSource, maxInboundPerSecond } = limits;
    this.#pending = new Places(clock, {
      total: maxPendingInbound,
      perSource: maxPendingPerSource,
      patienceMs: PATIENCE_MS,
    });
    this.#reserved = new Places(clock, { ...RESERVED, patienceMs: PATIENCE_MS });
    const perSecond = maxInboundPerSecond;
    this.#rate = new Allowance(clock, { burst: perSecond, perSecond });
  }

  setFavour(favour: Favour): void {
    this.#favour = favour;
  }

  favours(peer: PeerKey): boolean {
    return this.#favour.peer(peer);
  }

  /** Connections that were refused, or had to give way, since the start. */
  get turnedAway(): number {
    return this.#turnedAway + this.#pending.pushedOut + this.#reserved.pushedOut;
  }

  /** @param open connections at this moment  @returns frees the place once the handshake is over; undefined: refused */
  admit(newcomer: Newcomer, open: number): (() => void) | undefined {
    const source = sourceOf(newcomer.host);
    const isKnown = this.#favour.host(newcomer.host);
    const cost = isKnown ? KNOWN_COST : 1;
    if (open >= this.#limits.maxConnections || !this.#rate.take(source, cost)) {
      this.#turnedAway += 1;
      return undefined;
    }
    return (isKnown ? this.#reserved : this.#pending).take(source, () =>
      newcomer.abort(new Error('the handshake took too long, and others wait for its place')),
    );
  }

  /** Which of `guests` have to leave now that there are so many. */
  tooMany(guests: readonly Guest[]): readonly Guest[] {
    const leaving = new Set<Guest>();
    for (const group of Map.groupBy(guests, ({ peer }) => peer).values())
      for (const guest of group.sort((a, b) => b.since - a.since).slice(MAX_PER_PEER))
        leaving.add(guest);
    const { maxStrangers, maxStrangersPerSource } = this.#limits;
    const strangers = guests
      .filter((guest) => guest.isInbound && !leaving.has(guest) && !this.#favour.peer(guest.peer))
      .map((guest) => ({ guest, since: guest.since, source: sourceOf(guest.host ?? '') }));
    const staying = new Set(strangers);
    for (const group of Map.groupBy(strangers, ({ source }) => source).values())
      for (const one of group.sort((a, b) => b.since - a.since).slice(maxStrangersPerSource))
        staying.delete(one);
    while (staying.size > maxStrangers)
      staying.delete(whoGivesWay<Held & { guest: Guest }>(staying) as (typeof strangers)[number]);
    for (const one of strangers) if (!staying.has(one)) leaving.add(one.guest);
    this.#turnedAway += leaving.size;
    return [...leaving];
  }
}
