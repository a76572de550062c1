/**
 * What a run puts on the machine: network namespaces with all that runs in them, sockets of userspace devices, a
 * directory. It is written down before it is made, and taken away however the run ends: by the run itself; by a
 * process of its own session that waits for the end of the run, `kill -9` included; and, where that was killed too, by
 * the next run, which says so. The demonstration, the tests and the benchmarks hold their grounds here.
 */
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { NODE_FLAGS } from '#src/confinement';
import { visible } from '#src/visible';
import { enter, isAlive, ledgerEntries, strike, thisProcess } from './ground-ledger.ts';
import { type Ground, takeAway } from './ground-removal.ts';

const cleaner = fileURLToPath(new URL('./ground-cleaner.ts', import.meta.url));

export interface HeldGround {
  /** Takes it away; ends what still runs in its namespaces. */
  release(): Promise<void>;
}

let isWatched = false;

/**
 * Call it before anything of the ground is made.
 * @param what holds it, in words, for the run that finds it left behind
 */
export async function holdGround(what: string, ground: Ground): Promise<HeldGround> {
  await sweepGrounds((line) => process.stderr.write(`kelmesh: ${visible(line)}\n`));
  const entry = await enter(what, ground);
  if (!isWatched) watch();
  isWatched = true;
  return {
    async release() {
      await takeAway(ground);
      await strike(entry);
    },
  };
}

/** Takes away what runs left that have ended, and tells what. */
export async function sweepGrounds(say: (line: string) => void): Promise<void> {
  for (const entry of await ledgerEntries()) {
    if (isAlive(entry.owner)) continue;
    const { namespaces, programs, files } = await takeAway(entry.ground);
    await strike(entry.path);
    say(
      `${entry.what} (process ${entry.owner.pid}) ended without clearing up: took away ${namespaces} network namespaces, ` +
        `${programs} programs in them, ${files} sockets and directories (${entry.ground.namespaces.join(', ')})`,
    );
  }
}

/** In a session of its own, so that what ends this one does not end it. Its standard input ends with this process. */
function watch(): void {
  const child = spawn(process.execPath, [...NODE_FLAGS, cleaner, JSON.stringify(thisProcess())], {
    stdio: ['pipe', 'ignore', 'ignore'],
    detached: true,
    cwd: '/',
  });
  child.unref();
  (child.stdin as unknown as { unref(): void }).unref();
  // It has gone: then the next run finds what this one leaves.
  child.stdin?.on('error', () => undefined);
  child.on('error', () => undefined);
}
