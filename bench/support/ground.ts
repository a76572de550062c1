/** A benchmark on a ground of its own, which is taken away however it ends. */
import { constants } from 'node:os';
import { holdGround } from '../../demo/ground.ts';
import type { Ground } from '../../demo/ground-removal.ts';

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `work`, then takes `ground` away, however `work` has ended; a signal ends this process. */
export async function onGround<T>(ground: Ground, work: () => Promise<T>): Promise<T> {
  const held = await holdGround('a benchmark', ground);
  const interrupted = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of signals) process.on(signal, interrupted.resolve);
  try {
    const outcome = await Promise.race([
      work().then((value) => ({ value })),
      interrupted.promise.then((signal) => ({ signal })),
    ]);
    if ('value' in outcome) return outcome.value;
    await held.release();
    return process.exit(128 + constants.signals[outcome.signal]);
  } finally {
    await held.release();
    for (const signal of signals) process.off(signal, interrupted.resolve);
  }
}
