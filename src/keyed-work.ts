/**
 * One piece of work per key: asked for while it runs, it runs once more right after; failed, it is tried again after a pause
 * that grows. So many requests for one key cost one run, and none is lost.
 */
import type { Clock } from './clock.ts';

export interface KeyedWorkOptions<K> {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Runs once. @returns `again` when more is to do, after the pause of a failure; `afterMs` when that is no failure */
  readonly run: (key: K) => Promise<'done' | 'again' | Later>;
  /** Milliseconds before the next attempt; undefined gives it up until somebody asks again. @param failures in a row, from 1 */
  readonly pauseMs: (failures: number, key: K) => number | undefined;
  /** Whether it is tried again after that pause where nobody has asked meanwhile. @default always */
  readonly persists?: (failures: number, key: K) => boolean;
  /** Told of each run that rejected. */
  readonly failed: (key: K, error: unknown) => void;
}

/** Once more after so many milliseconds, or as soon as somebody hurries it. */
interface Later {
  readonly afterMs: number;
}

interface Work {
  /** Asked for since the run that is under way began. */
  isWanted: boolean;
  failures: number;
  /** Ends the pause. */
  awake: AbortController | undefined;
}

export class KeyedWork<K> {
  readonly #options: KeyedWorkOptions<K>;
  readonly #works = new Map<K, Work>();

  constructor(options: KeyedWorkOptions<K>) {
    this.#options = options;
  }

  /** Keys whose work runs or waits for its next attempt. */
  get size(): number {
    return this.#works.size;
  }

  isAtWork(key: K): boolean {
    return this.#works.has(key);
  }

  /** Wants the work of `key` done: now, or, where it runs or pauses, once more after that. However often, a pause stays a pause. */
  poke(key: K): void {
    if (this.#options.signal.aborted) return;
    const work = this.#works.get(key);
    if (work !== undefined) {
      work.isWanted = true;
      return;
    }
    const fresh: Work = { isWanted: true, failures: 0, awake: undefined };
    this.#works.set(key, fresh);
    void this.#work(key, fresh);
  }

  /** As {@link poke}, and a pause ends: for what this end itself knows to have changed, never for what a peer says. */
  hurry(key: K): void {
    this.poke(key);
    this.#works.get(key)?.awake?.abort();
  }

  /** No further attempt; a run that is under way ends by itself, and what is asked for from now on begins anew. */
  forget(key: K): void {
    const work = this.#works.get(key);
    this.#works.delete(key);
    if (work === undefined) return;
    work.isWanted = false;
    work.awake?.abort();
  }

  async #work(key: K, work: Work): Promise<void> {
    const { signal } = this.#options;
    const isOurs = () => !signal.aborted && this.#works.get(key) === work;
    while (isOurs() && work.isWanted) {
      work.isWanted = false;
      const pauseMs = await this.#attempt(key, work);
      if (pauseMs === undefined || !isOurs()) continue;
      await this.#pause(work, pauseMs);
      if (isOurs() && this.#persists(work, key)) work.isWanted = true;
    }
    if (this.#works.get(key) === work) this.#works.delete(key);
  }

  #persists({ failures }: Work, key: K): boolean {
    return this.#options.persists?.(failures, key) ?? true;
  }

  /** @returns milliseconds until the next attempt; undefined when none is due */
  async #attempt(key: K, work: Work): Promise<number | undefined> {
    const { run, pauseMs, failed, signal } = this.#options;
    try {
      const end = await run(key);
      if (end !== 'again') {
        work.failures = 0;
        return end === 'done' ? undefined : end.afterMs;
      }
    } catch (error) {
      if (signal.aborted) return undefined;
      failed(key, error);
    }
    work.failures += 1;
    return pauseMs(work.failures, key);
  }

  async #pause(work: Work, ms: number): Promise<void> {
    const { clock, signal } = this.#options;
    work.awake = new AbortController();
    await clock.sleep(ms, AbortSignal.any([signal, work.awake.signal])).catch(() => undefined);
    work.awake = undefined;
  }
}
