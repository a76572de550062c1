/**
 * Lock files against two processes on one key store.
 *
 * Each process that wants the lock puts down a file whose name says who it is, then looks for others. Whose
 * process is alive keeps it out; whose process is gone is removed. Of two that come at the same moment each
 * sees the other, and neither gets it: two holders are not possible. Since no name is ever used again,
 * removing a stale file can never hit a live one, which a single lock file cannot promise.
 *
 * The name holds process id, its start time in clock ticks and the boot id: so a process id that was given
 * to another process since is told apart. Processes in two PID namespaces or on two hosts are not.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { KeyStoreError } from './errors.ts';

const TICKET = /^\.((\d+)\.\d+\.[0-9a-f-]{36})\.[0-9a-f]{16}$/;

export class FileLock {
  readonly #ticket: string;

  private constructor(ticket: string) {
    this.#ticket = ticket;
  }

  /** @param path what the names of the lock files begin with  @throws KEYSTORE_LOCKED while another process, or this one, holds it */
  static async acquire(path: string): Promise<FileLock> {
    const ticket = `${path}.${await identityOf(process.pid)}.${randomBytes(8).toString('hex')}`;
    await writeFile(ticket, '', { flag: 'wx', mode: 0o600 });
    try {
      await requireNoOther(path, ticket);
    } catch (error) {
      await rm(ticket, { force: true });
      throw error;
    }
    return new FileLock(ticket);
  }

  async release(): Promise<void> {
    await rm(this.#ticket, { force: true });
  }
}

async function requireNoOther(path: string, own: string): Promise<void> {
  const directory = dirname(path);
  for (const name of await readdir(directory)) {
    const [, identity, pid] = TICKET.exec(name.slice(basename(path).length)) ?? [];
    if (!name.startsWith(basename(path)) || identity === undefined || name === basename(own))
      continue;
    if ((await identityOf(Number(pid))) === identity) {
      throw new KeyStoreError('KEYSTORE_LOCKED', `${path}: in use by process ${pid}`, {
        fields: { pid: Number(pid) },
      });
    }
    await rm(join(directory, name), { force: true });
  }
}

/** `pid.starttime.bootid` of a running process; field 22 of proc_pid_stat(5), counted behind the parenthesised name. */
async function identityOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const state = fields[0];
    const startTime = fields[19];
    // Dead, only not yet waited for by its parent.
    if (state === 'Z' || state === 'X') return undefined;
    const bootId = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${pid}.${startTime}.${bootId.trim()}`;
  } catch {
    return undefined;
  }
}
