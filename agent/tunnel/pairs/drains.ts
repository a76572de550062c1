/** Lets the former views of each pair go, one worker a view; which one may go is decided in `next-step.ts`. */
import type { Clock } from '#src/clock';
import type { Journal } from '#src/journal';
import { nextDrainStep } from './next-step.ts';
import type { DrainingView, Pair } from './pair.ts';
import type { PairKeys } from './pair-keys.ts';
import { type Reconciler, usedViews } from './reconciler.ts';
import { IN_FLIGHT_MS } from './room.ts';
import { sameView } from './view.ts';

export interface DrainsDeps {
  readonly reconciler: Reconciler;
  readonly pairKeys: Pick<PairKeys, 'retire'>;
  readonly clock: Clock;
  readonly journal: Journal;
  /** Nothing comes on `view` any more: it goes now. */
  readonly drained: (pair: Pair, view: DrainingView) => void;
}

export interface DrainsSettings {
  /** How long the former view of a tunnel stays, in milliseconds. */
  readonly drainMs: number;
  /** How long a change waits for a peer that cannot be reached before its former key may go, in milliseconds. */
  readonly changeMs: number;
}

export class Drains {
  readonly #deps: DrainsDeps;
  readonly #settings: DrainsSettings;
  readonly #running = new Set<string>();
  #signal: AbortSignal = AbortSignal.abort();

  constructor(deps: DrainsDeps, settings: DrainsSettings) {
    this.#deps = deps;
    this.#settings = settings;
  }

  start(signal: AbortSignal): void {
    this.#signal = signal;
    this.follow();
  }

  /** Looks after every former view that is there now. Once more changes nothing. */
  follow(): void {
    if (this.#signal.aborted) return;
    for (const pair of this.#deps.reconciler.pairs.values()) {
      for (const view of pair.draining) {
        const name = `${pair.aid} ${nameOf(view)}`;
        if (this.#running.has(name)) continue;
        this.#running.add(name);
        void this.#drain(pair, view).finally(() => this.#running.delete(name));
      }
    }
  }

  async #drain(pair: Pair, view: DrainingView): Promise<void> {
    const { clock, journal } = this.#deps;
    // What is on disk is of the clock, which may be set meanwhile: here it counts once, and no longer than was ever meant.
    const leftMs = Math.min(view.deadline - clock.now(), this.#settings.changeMs);
    const end = clock.monotonic() + leftMs;
    try {
      for (let isThere = true; isThere; ) {
        const waited = findIn(pair, view);
        if (waited === undefined) return;
        await clock.sleep(this.#pauseMs(waited), this.#signal);
        isThere = await this.#look(pair, view, end);
      }
    } catch (error) {
      if (!this.#signal.aborted) journal.failed('tunnel.drain-failed', error, { aid: pair.aid });
    }
  }

  #pauseMs({ rxBytes, until }: DrainingView): number {
    const { drainMs } = this.#settings;
    if (rxBytes < 0) return Math.min(IN_FLIGHT_MS, drainMs / 2);
    return Math.max(0, Math.min(until - this.#deps.clock.now(), drainMs));
  }

  /** @param end monotonic  @returns whether it is still there */
  async #look(pair: Pair, view: DrainingView, end: number): Promise<boolean> {
    const { clock, reconciler, pairKeys, drained, journal } = this.#deps;
    const at = findIn(pair, view);
    if (at === undefined) return false;
    const state = await reconciler.peerState(at).catch(() => undefined);
    const rxBytes = Number(state?.rxBytes ?? 0n);
    const step = nextDrainStep(at, rxBytes, clock.monotonic() >= end);
    journal.debug('tunnel.drain', { aid: pair.aid, step: `${step.kind}: ${step.why}` });
    switch (step.kind) {
      case 'count':
        await pair.drainOn(at, at.until, rxBytes);
        return true;
      case 'stay':
        await pair.drainOn(at, clock.now() + this.#settings.drainMs, rxBytes);
        return true;
      case 'retire':
        drained(pair, at);
        await pair.drained(at);
        await pairKeys.retire(pair.aid, usedViews(pair));
        await reconciler.reconcile();
        return false;
    }
  }
}

/** One that drains again later has another deadline. */
function nameOf({ own, peer, slot, deadline }: DrainingView): string {
  return `${slot} ${own} ${peer} ${deadline}`;
}

function findIn(pair: Pair, view: DrainingView): DrainingView | undefined {
  return pair.draining.find(
    (other) =>
      sameView(other, view) && other.slot === view.slot && other.deadline === view.deadline,
  );
}
