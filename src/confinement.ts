/**
 * What a process that holds secrets does about its own memory, first of all: nobody attaches a debugger by a signal, and no core
 * file is written with it, whoever started it and however.
 *
 * Three things speak against a core file, because each has a hole: the limit (a handler to which the kernel pipes cores may
 * ignore it), the filter (empty, so that a core holds no memory; some handlers read the memory themselves), and the flag
 * "not dumpable", which also keeps other processes of the same user from reading the memory. The flag has no call in Node: the
 * kernel sets it when the effective group changes, and only a process with CAP_SETGID can do that.
 */
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import inspector from 'node:inspector';

/** For everything that starts a Node of ours: without it a SIGUSR1 opens a debugger's port, from the first moment on. */
export const NODE_FLAGS: readonly string[] = ['--disable-sigusr1'];

/** Any group but the own one: it is in effect for a moment. */
const OTHER_GROUP = 65_534;

export function confine(): void {
  // Where the flag was forgotten: a listener takes the place of the handler that opens the port.
  process.on('SIGUSR1', () => undefined);
  if (inspector.url() !== undefined) inspector.close();
  if (process.platform !== 'linux') return;
  attempt(() => writeFileSync('/proc/self/coredump_filter', '0'));
  attempt(limitCore);
  attempt(forbidDump);
}

/** Maximum of the limit on core files in bytes, as the system has it for a process; undefined where it does not say. */
export function coreLimitOf(pid: number | 'self'): string | undefined {
  const limits = readFileSync(`/proc/${pid}/limits`, 'latin1');
  return /^Max core file size\s+\S+\s+(\S+)/m.exec(limits)?.[1];
}

function limitCore(): void {
  if (coreLimitOf('self') === '0') return;
  spawnSync('prlimit', ['--pid', String(process.pid), '--core=0:0'], { stdio: 'ignore' });
}

function forbidDump(): void {
  const own = process.getegid?.();
  if (own === undefined) return;
  process.setegid?.(own === OTHER_GROUP ? 0 : OTHER_GROUP);
  process.setegid?.(own);
}

function attempt(measure: () => void): void {
  try {
    measure();
  } catch {
    // The others stand.
  }
}
