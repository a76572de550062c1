/** Work that is done again and again, with a pause between, for as long as something runs. */
import type { Clock } from './clock.ts';

export interface Ticks {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Milliseconds before each round, the first one too; asked anew each time, so that it may vary. */
  readonly pauseMs: () => number;
  /** Told of a round that rejected; the next one comes all the same. */
  readonly failed: (error: unknown) => void;
}

/** Resolves when the signal aborts and the round that ran then has ended; never rejects. */
export async function ticks(
  { clock, signal, pauseMs, failed }: Ticks,
  round: () => void | Promise<void>,
): Promise<void> {
  while (!signal.aborted) {
    await clock.sleep(pauseMs(), signal).catch(() => undefined);
    if (signal.aborted) return;
    try {
      await round();
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
  }
}

/** `ms`, give or take a quarter: agents that started together do not stay in step. @param random a byte */
export function jittered(ms: number, random: number): number {
  return ms * (0.75 + random / 512);
}
