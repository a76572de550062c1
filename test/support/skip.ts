/** Skipping with a reason, which the reporter prints at the end of the run. */
import type { Context, Runnable } from 'mocha';

/** Skips the running test or, from a `before` hook, the whole suite. */
export function skip(context: Context, reason: string): never {
  const runnable: Runnable & { skipReason?: string } = context.runnable();
  runnable.skipReason = reason;
  context.skip();
}
