/** Deadlines on the program's own clock: simulated time passes them too. */
import type { Clock } from './clock.ts';

/** The result of `task`, or `late()`'s after `ms`: `late` throws, or gives a fallback. The task itself goes on; abort what it holds in `late`. */
export async function withDeadline<T>(
  clock: Clock,
  ms: number,
  task: Promise<T>,
  late: () => T,
): Promise<T> {
  const timer = new AbortController();
  try {
    return await Promise.race([task, clock.sleep(ms, timer.signal).then(late)]);
  } finally {
    timer.abort();
    task.catch(() => undefined);
  }
}
