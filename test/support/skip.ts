/** Skipping with a reason, which the reporter prints at the end of the run. */
import type { Context } from 'mocha';

/** Skips the running test or, from a `before` hook, the whole suite. */
export function skip(context: Context, reason: string): never {
  const runnable = context.runnable() as ReturnType<Context['runnable']> & { skipReason?: string };
  runnable.skipReason = reason;
  context.skip();
}
