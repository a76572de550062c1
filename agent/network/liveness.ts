/**
 * Whether the other end of each connection still answers, whatever the wall clock does.
 *
 * libp2p's own monitor derives its time-out from moving averages over wall-clock time: one step back, and it is no number any more,
 * and every connection is aborted at each look. Here the time-out is fixed, and one that comes late is asked again first.
 */
import type { Clock } from '#src/clock';
import { mistaken, ticks } from '#src/ticks';

/** Between two looks at a connection. */
const LOOK_MS = 10_000;
/** For one answer. */
const ANSWER_MS = 5_000;
/** Pings in a row that nobody answers before a connection is given up. */
const MAX_UNANSWERED = 3;
/** The same where there is a reason to think that it is dead. */
const HURRIED = { answerMs: 2_000, unanswered: 3 };

export interface LivenessLimits {
  readonly lookMs: number;
  readonly answerMs: number;
}

export interface LivenessHost<Connection> {
  readonly clock: Clock;
  /** Those that are open. */
  connections(): readonly Connection[];
  /** Resolves with any answer; rejects when `signal` aborts first. */
  ping(connection: Connection, signal: AbortSignal): Promise<void>;
  /** Nobody answers any more. */
  dead(connection: Connection): void;
}

export class Liveness<Connection extends object> {
  readonly #host: LivenessHost<Connection>;
  readonly #limits: LivenessLimits;
  readonly #asked = new WeakSet<Connection>();
  readonly #hurried = new WeakSet<Connection>();

  constructor(
    host: LivenessHost<Connection>,
    limits: LivenessLimits = { lookMs: LOOK_MS, answerMs: ANSWER_MS },
  ) {
    this.#host = host;
    this.#limits = limits;
  }

  async run(signal: AbortSignal): Promise<void> {
    const { clock, connections } = this.#host;
    const pauseMs = () => this.#limits.lookMs;
    await ticks({ clock, signal, pauseMs, failed: mistaken }, () => {
      for (const connection of connections()) void this.#look(connection, signal);
    });
  }

  /** Looks at these now, and waits less long: the way to them may have changed. */
  hurry(connections: readonly Connection[], signal: AbortSignal): void {
    const { answerMs, unanswered } = HURRIED;
    for (const connection of connections) {
      if (this.#hurried.has(connection)) continue;
      this.#hurried.add(connection);
      void this.#expectAnswer(connection, signal, answerMs, unanswered).finally(() =>
        this.#hurried.delete(connection),
      );
    }
  }

  async #look(connection: Connection, signal: AbortSignal): Promise<void> {
    if (this.#asked.has(connection)) return;
    this.#asked.add(connection);
    if (await this.#expectAnswer(connection, signal, this.#limits.answerMs, MAX_UNANSWERED))
      this.#asked.delete(connection);
  }

  /** @returns whether it answers; one that does not is given up */
  async #expectAnswer(
    connection: Connection,
    signal: AbortSignal,
    answerMs: number,
    unanswered: number,
  ): Promise<boolean> {
    for (let asked = 0; asked < unanswered; asked++) {
      if (await this.#answers(connection, signal, answerMs)) return true;
      if (signal.aborted) return false;
    }
    this.#host.dead(connection);
    return false;
  }

  async #answers(connection: Connection, signal: AbortSignal, answerMs: number): Promise<boolean> {
    const { clock, ping } = this.#host;
    const late = new AbortController();
    const done = new AbortController();
    const timer = AbortSignal.any([signal, done.signal]);
    clock.sleep(answerMs, timer).then(
      () => late.abort(),
      () => undefined,
    );
    try {
      await ping(connection, AbortSignal.any([signal, late.signal]));
      return true;
    } catch {
      // Whatever else goes wrong is an answer too: of the other end, or of this one, which ends the connection itself.
      return !late.signal.aborted;
    } finally {
      done.abort();
    }
  }
}
