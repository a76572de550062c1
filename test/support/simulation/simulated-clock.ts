/**
 * Virtual time. It stands still until a test moves it, and jumps from timer to timer.
 *
 * Before each jump everything that runs without time is let finish: micro-tasks, `nextTick`, `setImmediate`, as
 * long as it goes on touching the clock. Work on the thread pool (files, asynchronous cryptography) is not seen; a
 * test that has it passes a larger `quietRounds` or awaits that work itself.
 */
import type { Clock } from '#src/clock';

/** 2026-01-01T00:00:00Z. */
const DEFAULT_START = Date.UTC(2026, 0, 1);

interface Timer {
  readonly deadline: number;
  /** Order among equal deadlines: first set, first fired. */
  readonly sequence: number;
  readonly fire: () => void;
  cancelled: boolean;
}

export interface SimulatedClockOptions {
  /** Milliseconds since the Unix epoch. */
  readonly start?: number;
  /** Turns of the event loop without a new timer after which all is taken to be quiet; @default 3 */
  readonly quietRounds?: number;
}

export class SimulatedClock implements Clock {
  readonly #quietRounds: number;
  readonly #timers = new TimerHeap();
  #now: number;
  #stepped = 0;
  #sequence = 0;

  constructor(options: SimulatedClockOptions = {}) {
    this.#now = options.start ?? DEFAULT_START;
    this.#quietRounds = options.quietRounds ?? 3;
  }

  now(): number {
    return this.#now + this.#stepped;
  }

  /** Not of this process's beginning, as little as the real one's. */
  monotonic(): number {
    return this.#now - DEFAULT_START;
  }

  /** Sets the wall clock by `ms`, forward or back, as somebody who corrects it does: no time passes. */
  stepWall(ms: number): void {
    this.#stepped += ms;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    if (!signal) {
      this.schedule(ms, resolve);
      return promise;
    }
    const onAbort = () => {
      cancel();
      reject(signal.reason);
    };
    const cancel = this.schedule(ms, () => {
      signal.removeEventListener('abort', onAbort);
      resolve();
    });
    signal.addEventListener('abort', onAbort, { once: true });
    return promise;
  }

  /** Calls `fire` after `ms`. @returns cancels it */
  schedule(ms: number, fire: () => void): () => void {
    const deadline = this.#now + Math.max(0, ms);
    const timer = { deadline, sequence: this.#sequence++, fire, cancelled: false };
    this.#timers.push(timer);
    return () => {
      timer.cancelled = true;
    };
  }

  /** Moves time by `ms`, firing what falls due on the way. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await this.#drain();
    while (await this.#step(end));
    this.#now = end;
  }

  /**
   * Moves time until `predicate` holds.
   * @throws RangeError when it does not within `maxMs`
   */
  async runUntil(predicate: () => boolean, maxMs: number): Promise<void> {
    const end = this.#now + maxMs;
    await this.#drain();
    while (!predicate()) {
      if (!(await this.#step(end))) {
        this.#now = end;
        throw new RangeError(`expected the condition within ${maxMs} simulated ms, got none`);
      }
    }
  }

  /** Moves time until `work` has settled, and gives its result. Throws as {@link runUntil}. */
  async run<T>(work: Promise<T>, maxMs = 3_600_000): Promise<T> {
    let settled = false;
    const watched = work.finally(() => {
      settled = true;
    });
    watched.catch(() => undefined); // seen by whoever awaits the result below
    await this.runUntil(() => settled, maxMs);
    return watched;
  }

  /** Fires the timers of the next deadline up to `end`, after the last drain. @returns false when there is none */
  async #step(end: number): Promise<boolean> {
    const next = this.#timers.peek();
    if (!next || next.deadline > end) return false;
    this.#now = next.deadline;
    let due = this.#timers.peek();
    // Only those set before this instant: a timer of zero set by one of them waits for its consequences.
    for (const last = this.#sequence; due && due.deadline <= this.#now && due.sequence < last; ) {
      this.#timers.pop();
      if (!due.cancelled) due.fire();
      due = this.#timers.peek();
    }
    await this.#drain();
    return true;
  }

  async #drain(): Promise<void> {
    let seen = this.#sequence;
    for (let quiet = 0; quiet < this.#quietRounds; quiet++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (this.#sequence !== seen) {
        seen = this.#sequence;
        quiet = -1;
      }
    }
  }
}

/** Binary heap by deadline, then sequence; cancelled timers leave when they reach the top. */
class TimerHeap {
  readonly #items: Timer[] = [];

  peek(): Timer | undefined {
    while (this.#items[0]?.cancelled) this.pop();
    return this.#items[0];
  }

  push(timer: Timer): void {
    const items = this.#items;
    let at = items.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!before(timer, items[parent] as Timer)) break;
      items[at] = items[parent] as Timer;
      at = parent;
    }
    items[at] = timer;
  }

  pop(): void {
    const items = this.#items;
    const last = items.pop();
    if (!last || items.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= items.length) break;
      if (child + 1 < items.length && before(items[child + 1] as Timer, items[child] as Timer)) {
        child += 1;
      }
      if (!before(items[child] as Timer, last)) break;
      items[at] = items[child] as Timer;
      at = child;
    }
    items[at] = last;
  }
}

function before(a: Timer, b: Timer): boolean {
  return a.deadline - b.deadline < 0 || (a.deadline === b.deadline && a.sequence < b.sequence);
}
