/** Taking a ground away: the programs in its namespaces, the namespaces, the sockets of its devices, its directory. */
import { execFile } from 'node:child_process';
import { lstat, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

export interface Ground {
  /** For `ip netns`; no other run uses them. */
  readonly namespaces: readonly string[];
  /** Names of WireGuard devices without their last digit. */
  readonly interfaces: readonly string[];
  /** Removed with all that is in it. */
  readonly dir?: string;
}

export interface TakenAway {
  readonly namespaces: number;
  readonly programs: number;
  readonly files: number;
}

const execute = promisify(execFile);

const SOCKET_DIR = '/var/run/wireguard';
const PATIENCE_MS = 5_000;
const GIVE_UP_MS = 30_000;
const POLL_MS = 50;

/** Doing it twice, or of a ground half made, is no error. */
export async function takeAway({ namespaces, interfaces, dir }: Ground): Promise<TakenAway> {
  // The namespaces are the run's alone, and so is every process in them.
  const programs = await endProcesses(namespaces);
  let removed = 0;
  for (const name of namespaces)
    removed += await execute('ip', ['netns', 'delete', name]).then(
      () => 1,
      () => 0,
    );
  const sockets = (await readdir(SOCKET_DIR).catch(() => [])).filter((file) =>
    interfaces.some(
      (prefix) =>
        file.startsWith(prefix) && /^\d\.(sock|events|probes)$/.test(file.slice(prefix.length)),
    ),
  );
  const paths = sockets.map((file) => join(SOCKET_DIR, file));
  if (dir !== undefined && (await exists(dir))) paths.push(dir);
  for (const path of paths) await rm(path, { recursive: true, force: true });
  return { namespaces: removed, programs, files: paths.length };
}

/** One that is asked first removes its sockets. @returns how many there were */
async function endProcesses(namespaces: readonly string[]): Promise<number> {
  const seen = new Set<number>();
  for (let waited = 0; ; waited += POLL_MS) {
    const pids = await processesIn(namespaces);
    if (pids.length === 0) return seen.size;
    if (waited >= GIVE_UP_MS)
      throw new Error(`not ended within ${GIVE_UP_MS / 1_000} s: processes ${pids.join(', ')}`);
    for (const pid of pids) {
      if (waited >= PATIENCE_MS) end(pid, 'SIGKILL');
      else if (!seen.has(pid)) end(pid, 'SIGTERM');
      seen.add(pid);
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function processesIn(namespaces: readonly string[]): Promise<readonly number[]> {
  const lists = await Promise.all(
    namespaces.map((name) =>
      execute('ip', ['netns', 'pids', name]).then(
        ({ stdout }) => stdout.split('\n').filter((line) => line !== ''),
        () => [],
      ),
    ),
  );
  return [...new Set(lists.flat().map(Number))].filter((pid) => pid !== process.pid);
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
