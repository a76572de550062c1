/** As an ordinary user the demonstration runs in a user namespace of its own, where it may make network namespaces. */

import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { Socket } from 'node:net';
import { NODE_FLAGS } from '#src/confinement';

const MARK = '--in-user-namespace';
/** A pipe that ends when the program outside does, however it does. */
const PARENT_FD = 3;
export const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** What keeps this user from running the demonstration, in words; undefined when nothing does. */
export function obstacle(): string | undefined {
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return 'no access to /dev/net/tun: run as root, or allow this user to open it (chmod 666 /dev/net/tun)';
  }
  if (process.getuid?.() === 0) return undefined;
  const probe = spawnSync('unshare', ['--user', '--map-root-user', '--net', '--mount', 'true'], {
    encoding: 'utf8',
  });
  if (probe.status === 0) return undefined;
  return `this kernel gives ordinary users no namespaces (${probe.stderr.trim() || 'unshare is missing'}): run as root`;
}

/** Runs this program again inside a user namespace. @returns its exit code, undefined when no namespace is needed */
export async function reenter(argv: readonly string[]): Promise<number | undefined> {
  if (process.getuid?.() === 0 || argv.includes(MARK)) return undefined;
  const script = 'mount -t tmpfs tmpfs /run && mkdir -p /run/netns /run/wireguard && exec "$@"';
  const command = [
    '--user',
    '--map-root-user',
    '--net',
    '--mount',
    'sh',
    '-c',
    script,
    'sh',
    process.execPath,
    ...NODE_FLAGS,
    process.argv[1] ?? '',
    ...argv,
    MARK,
  ];
  const child = spawn('unshare', command, {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
  });
  const forward = (signal: NodeJS.Signals) => child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, forward);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => resolve(code ?? 1));
  });
}

/** Inside the user namespace: calls `act` when the program outside has ended. */
export function onParentGone(act: () => void): void {
  if (!process.argv.includes(MARK)) return;
  const parent = new Socket({ fd: PARENT_FD });
  parent.once('close', act);
  parent.on('error', () => undefined);
  parent.resume();
  parent.unref();
}

export function withoutMark(argv: readonly string[]): readonly string[] {
  return argv.filter((argument) => argument !== MARK);
}
