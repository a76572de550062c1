/** Notices when somebody sets the wall clock: it and the monotonic one then part by more than drift explains. */
import type { Clock } from './clock.ts';
import { mistaken, ticks } from './ticks.ts';

const LOOK_MS = 2_000;
/** Milliseconds within a look: a clock that is slewed changes by half a per mille of the time at most. */
const STEP_MS = 1_000;

/**
 * Calls `onStep` within seconds of each step until `signal` aborts. A machine that was asleep counts as a step forward where its
 * monotonic clock stands still meanwhile. @param onStep gets by how many milliseconds, negative for back
 */
export async function watchSteps(
  clock: Clock,
  signal: AbortSignal,
  onStep: (ms: number) => void,
): Promise<void> {
  const apart = () => clock.now() - clock.monotonic();
  let before = apart();
  await ticks({ clock, signal, pauseMs: () => LOOK_MS, failed: mistaken }, () => {
    const now = apart();
    if (Math.abs(now - before) >= STEP_MS) onStep(Math.round(now - before));
    before = now;
  });
}
