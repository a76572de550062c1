/**
 * Whom this node passes on to whom: members that cannot reach each other meet here, over circuits of libp2p's relay protocol
 * (version 2). What passes is encrypted between the two ends. A member has its place for nothing but being one; a stranger reaches
 * members through here as it would directly, a few times, and is judged by them.
 */
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import type { PeerKey } from './network.ts';

/** The protocol that a node offers which serves as a relay. */
export const RELAY_PROTOCOL = '/libp2p/circuit/relay/0.2.0/hop';

/** What one node serves, and what one circuit carries. */
export const RELAY_BOUNDS = {
  /** Members that may be reached through this node. */
  reservations: 1_024,
  /** Milliseconds; renewed by who holds it. */
  reservationMs: 2 * 3_600_000,
  /** Circuits of one connection, in each direction. */
  circuits: 96,
  /** Bytes of one circuit, both ways together: the first exchange of a large mesh, and some days of the usual. */
  circuitBytes: 128n << 20n,
  /** Milliseconds of one circuit; the ends come again. */
  circuitMs: 12 * 3_600_000,
  /** Milliseconds for what is said before a circuit stands. */
  sayMs: 10_000,
} as const;

/** Circuits that one member begins: as many as it has members to reach, and those that broke. */
const MEMBER_CIRCUITS = { burst: 256, perSecond: 1 / 20 };
/** Circuits that one stranger begins: enough to join. */
const STRANGER_CIRCUITS = { burst: 4, perSecond: 1 / 60 };
/** Circuits of all strangers at one time. */
const MAX_STRANGER_CIRCUITS = 8;

export interface CircuitPolicyDeps {
  readonly clock: Pick<Clock, 'monotonic'>;
  /** A member. */
  favours(peer: PeerKey): boolean;
  /** Circuits at this moment whose beginning end is no member. */
  strangerCircuits(): number;
}

export class CircuitPolicy {
  readonly #deps: CircuitPolicyDeps;
  readonly #ofMembers: Allowance<PeerKey>;
  readonly #ofStrangers: Allowance<PeerKey>;
  #refused = 0;

  constructor(deps: CircuitPolicyDeps) {
    this.#deps = deps;
    this.#ofMembers = new Allowance(deps.clock, MEMBER_CIRCUITS);
    this.#ofStrangers = new Allowance(deps.clock, STRANGER_CIRCUITS);
  }

  /** Circuits and reservations that were refused since the start. */
  get refused(): number {
    return this.#refused;
  }

  /** Whether `peer` may be reached through this node. */
  mayReserve(peer: PeerKey): boolean {
    return this.#counted(this.#deps.favours(peer));
  }

  /** Whether a circuit from `source` to `destination` may begin; one that may is counted. */
  mayPass(source: PeerKey, destination: PeerKey): boolean {
    const { favours, strangerCircuits } = this.#deps;
    if (!favours(destination)) return this.#counted(false);
    if (favours(source)) return this.#counted(this.#ofMembers.take(source));
    return this.#counted(
      strangerCircuits() <= MAX_STRANGER_CIRCUITS && this.#ofStrangers.take(source),
    );
  }

  #counted(isAllowed: boolean): boolean {
    if (!isAllowed) this.#refused += 1;
    return isAllowed;
  }
}
