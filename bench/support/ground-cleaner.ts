/** Waits until standard input ends, which it does with the benchmark, then takes its ground away. Argument: the ground as JSON. */
import { execFile } from 'node:child_process';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Ground } from './ground.ts';

const execute = promisify(execFile);

const SOCKET_DIR = '/var/run/wireguard';
const PATIENCE_MS = 5_000;
const POLL_MS = 50;

const { namespaces, interfaces, dir } = JSON.parse(process.argv[2] ?? '{}') as Ground;
process.stdin.resume();
await new Promise((resolve) => process.stdin.once('close', resolve));

// The namespaces are the benchmark's alone, and so is every process in them. One that is asked removes its sockets.
await endProcesses();
for (const name of namespaces)
  await execute('ip', ['netns', 'delete', name]).catch(() => undefined);
for (const file of await readdir(SOCKET_DIR).catch(() => []))
  if (
    interfaces.some(
      (prefix) => file.startsWith(prefix) && /^\d\.sock$/.test(file.slice(prefix.length)),
    )
  )
    await rm(join(SOCKET_DIR, file), { force: true });
await rm(dir, { recursive: true, force: true });

async function endProcesses(): Promise<void> {
  for (let waited = 0; ; waited += POLL_MS) {
    const pids = await processes();
    if (pids.length === 0) return;
    if (waited === 0 || waited >= PATIENCE_MS)
      for (const pid of pids) end(pid, waited === 0 ? 'SIGTERM' : 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

async function processes(): Promise<readonly number[]> {
  const lists = await Promise.all(
    namespaces.map((name) =>
      execute('ip', ['netns', 'pids', name]).then(
        ({ stdout }) => stdout.split('\n').filter((line) => line !== ''),
        () => [],
      ),
    ),
  );
  return lists.flat().map(Number);
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}
