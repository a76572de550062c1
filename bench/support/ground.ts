/**
 * What a benchmark puts on the machine: network namespaces with all that runs in them, sockets of userspace devices, a
 * directory. It is taken away at the end, by a process of its own: also on Ctrl-C, and when this process is killed.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { fileURLToPath } from 'node:url';

export interface Ground {
  /** For `ip netns`. */
  readonly namespaces: readonly string[];
  /** Names of the WireGuard devices without their last digit. */
  readonly interfaces: readonly string[];
  /** Exists; removed with all that is in it. */
  readonly dir: string;
}

const cleaner = fileURLToPath(new URL('./ground-cleaner.ts', import.meta.url));
const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** Runs `work`, then takes `ground` away, however `work` has ended; a signal ends this process. */
export async function onGround<T>(ground: Ground, work: () => Promise<T>): Promise<T> {
  // In a session of its own: Ctrl-C is not for it. It begins when its standard input ends, with this process or before.
  const child = spawn(process.execPath, [cleaner, JSON.stringify(ground)], {
    stdio: ['pipe', 'ignore', 'inherit'],
    detached: true,
  });
  const gone = once(child, 'exit');
  const interrupted = Promise.withResolvers<NodeJS.Signals>();
  for (const signal of signals) process.on(signal, interrupted.resolve);
  try {
    const outcome = await Promise.race([
      work().then((value) => ({ value })),
      interrupted.promise.then((signal) => ({ signal })),
    ]);
    if ('value' in outcome) return outcome.value;
    child.stdin?.end();
    await gone;
    return process.exit(128 + constants.signals[outcome.signal]);
  } finally {
    child.stdin?.end();
    await gone;
    for (const signal of signals) process.off(signal, interrupted.resolve);
  }
}
