/**
 * Lazy tunnels: which pairs sleep until a packet wants to go there, and which have been idle for so long that they may sleep again.
 *
 * A pair that sleeps has no agreement. It stands on the device with a key that nobody else has, and with a socket of this agent as
 * its endpoint. Nothing of this is on disk: a pair that has a tunnel is awake, after a start too, and every other one sleeps.
 */
import type { Aid } from '#kel/identifiers';
import type { Clock } from '#src/clock';
import type { Edges } from './edges.ts';
import type { ActiveView } from './pair.ts';
import type { PlacedView } from './view.ts';

export interface DormancyDeps {
  readonly edges: Pick<Edges, 'of'>;
  readonly clock: Pick<Clock, 'monotonic'>;
  /** How long nothing goes through a lazy tunnel before it sleeps, in milliseconds. */
  readonly idleMs: number;
}

/** Between two looks, in bytes, both ways together: what WireGuard and the agents say by themselves is less. */
const QUIET_BYTES = 2_048n;

interface Traffic {
  readonly bytes: bigint;
  /** Since when there was no more than that; monotonic. */
  readonly since: number;
}

export class Dormancy {
  readonly #deps: DormancyDeps;
  /** Pairs that somebody wanted, and when last; monotonic. */
  readonly #wanted = new Map<Aid, number>();
  readonly #traffic = new Map<Aid, Traffic>();
  #isPossible = false;

  constructor(deps: DormancyDeps) {
    this.#deps = deps;
  }

  /** There is a place where a packet for a pair that sleeps is heard. Before that none sleeps. */
  enable(): void {
    this.#isPossible = true;
  }

  isLazy(aid: Aid): boolean {
    const edge = this.#deps.edges.of(aid);
    return this.#isPossible && edge.kind === 'open' && edge.terms.start === 'lazy';
  }

  isAsleep(
    aid: Aid,
    pair: {
      readonly active: ActiveView | undefined;
      readonly staged: PlacedView | undefined;
    },
  ): boolean {
    return (
      pair.active === undefined &&
      pair.staged === undefined &&
      !this.#wanted.has(aid) &&
      this.isLazy(aid)
    );
  }

  /** A packet wants to go there, or the other end has one. */
  wake(aid: Aid): void {
    this.#wanted.set(aid, this.#deps.clock.monotonic());
  }

  /** It sleeps from now on. */
  slept(aid: Aid): void {
    this.#wanted.delete(aid);
    this.#traffic.delete(aid);
  }

  /** What its device has counted; undefined: it has no tunnel yet. */
  count(aid: Aid, bytes: bigint | undefined): void {
    const now = this.#deps.clock.monotonic();
    if (bytes === undefined) {
      this.#traffic.delete(aid);
      return;
    }
    const last = this.#traffic.get(aid);
    // A device that was made anew counts from zero.
    const isQuiet = last !== undefined && bytes >= last.bytes && bytes - last.bytes <= QUIET_BYTES;
    this.#traffic.set(aid, { bytes, since: isQuiet ? last.since : now });
  }

  /** Whether nothing has gone through it for a while. @param part of the time that is asked for */
  isIdle(aid: Aid, part = 1): boolean {
    const { clock, idleMs } = this.#deps;
    const since = this.#traffic.get(aid)?.since ?? this.#wanted.get(aid);
    return since !== undefined && clock.monotonic() - since >= idleMs * part;
  }
}
