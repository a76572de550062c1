/** Skipping with a reason, which the reporter prints at the end of the run. */
import type { Context, Runnable } from 'mocha';

/** Skips the running test or, from a `before` hook, the whole suite. */
export function skip(context: Context, reason: string): never {
  const runnable: Runnable & { skipReason?: string } = context.runnable();
  runnable.skipReason = reason;
  // The reporter of a parallel run sees nothing of this process but the outcome.
  if (process.env['MOCHA_WORKER_ID'] !== undefined)
    console.error(`skipped: ${runnable.fullTitle()}: ${reason}`);
  context.skip();
}
