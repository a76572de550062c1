/**
 * When an agreement is due to be replaced. Its age is counted twice: by monotonic time, which nobody sets but which begins anew with
 * every start, and by steady time, which outlives a start but begins with whatever the clock shows then. Neither a clock that is set
 * nor a start makes an agreement stay in force for ever, or brings about one after the other.
 */
import { MAX_SKEW_MS } from './epoch-keys.ts';
import type { Agreed } from './pair-keys.ts';

/** A fresh agreement at the latest after this. */
const RENEW_MS = 24 * 3_600_000;
/** For so long after a start or an agreement a clock that the other end does not share makes nothing due. */
const DISPUTED_MS = 3_600_000;

/** What an agreement's age is counted from. */
export type Made = Pick<Agreed, 'since' | 'steady'>;

/** Milliseconds. */
export interface TimeNow {
  readonly monotonic: number;
  /** Since the Unix epoch. */
  readonly steady: number;
}

/** @param skewMs by which the clock of the other end is ahead of steady time; undefined: it was not heard since the start */
export function isDue(made: Made, now: TimeNow, skewMs: number | undefined): boolean {
  const runningMs = now.monotonic - made.since;
  if (runningMs >= RENEW_MS) return true;
  const isShared = skewMs !== undefined && Math.abs(skewMs) <= MAX_SKEW_MS;
  return (isShared || runningMs >= DISPUTED_MS) && ageMs(made, now) >= RENEW_MS;
}

/** Milliseconds, by the one of the two that shows more. */
export function ageMs(made: Made, now: TimeNow): number {
  // By distance: of a clock that was ahead for a while an agreement must not stay in force for longer.
  return Math.max(now.monotonic - made.since, Math.abs(now.steady - made.steady));
}
