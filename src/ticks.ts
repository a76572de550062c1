/** Work that is done again and again, with a pause between, for as long as something runs. */
import type { Clock } from './clock.ts';

export interface Ticks {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Milliseconds before each round, the first one too; asked anew each time, so that it may vary. */
  readonly pauseMs: () => number;
  /** Told of a round that rejected; the next one comes all the same, unless this throws. */
  readonly failed: (error: unknown) => void;
}

/** Resolves when the signal aborts and the round that ran then has ended; rejects with what `failed` throws. */
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

/** As `failed`, for rounds that nothing but a mistake in the program makes fail: it ends the program, as anywhere else. */
export function mistaken(error: unknown): never {
  throw error;
}

/** `ms`, give or take a quarter: agents that started together do not stay in step. @param random a byte */
export function jittered(ms: number, random: number): number {
  return ms * (0.75 + random / 512);
}
