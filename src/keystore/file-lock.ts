/**
 * A lock file against two processes on one key store.
 *
 * Content: process id, start time of that process in clock ticks, boot id. So a lock is stale when its
 * process is gone, also when the id was given to another process since. It cannot tell processes of two
 * hosts or of two PID namespaces apart: one directory, one host.
 */
import { randomBytes } from 'node:crypto';
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { KeyStoreError } from './errors.ts';

export class FileLock {
  readonly #path: string;
  readonly #content: string;

  private constructor(path: string, content: string) {
    this.#path = path;
    this.#content = content;
  }

  /** @throws KEYSTORE_LOCKED while another process (or this one) holds it */
  static async acquire(path: string): Promise<FileLock> {
    // The last word tells apart two locks of one process.
    const content = `${await identityOf(process.pid)} ${randomBytes(8).toString('hex')}\n`;
    // Linking a finished file makes the lock appear with its content: nobody ever reads half of one.
    const own = `${path}.${randomBytes(8).toString('hex')}`;
    await writeFile(own, content, { flag: 'wx', mode: 0o600 });
    try {
      for (let attempt = 0; attempt < 3; attempt++) {
        if (await linked(own, path)) return new FileLock(path, content);
        await removeStale(path, own);
      }
      throw new KeyStoreError(
        'KEYSTORE_LOCKED',
        `${path}: other processes are taking the lock at this moment`,
      );
    } finally {
      await rm(own, { force: true });
    }
  }

  async release(): Promise<void> {
    if ((await contentOf(this.#path)) === this.#content) await rm(this.#path, { force: true });
  }
}

/** Removes a lock whose process is gone. @throws KEYSTORE_LOCKED when it is alive */
async function removeStale(path: string, own: string): Promise<void> {
  const content = await contentOf(path);
  if (content === undefined) return;
  const holder = content.split(' ').slice(0, 3).join(' ');
  const pid = Number(holder.split(' ')[0]);
  if (Number.isSafeInteger(pid) && pid > 0 && (await identityOf(pid)) === holder) {
    throw new KeyStoreError('KEYSTORE_LOCKED', `${path}: in use by process ${pid}`, {
      fields: { pid },
    });
  }
  // Another process may have replaced the stale lock since it was read: then what is moved away is put back.
  const aside = `${own}.stale`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (isNotFound(error)) return;
    throw error;
  }
  try {
    if ((await contentOf(aside)) !== content) await linked(aside, path);
  } finally {
    await rm(aside, { force: true });
  }
}

/** `pid starttime bootid` of a running process; field 22 of proc_pid_stat(5), counted behind the parenthesised name. */
async function identityOf(pid: number): Promise<string | undefined> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const state = fields[0];
    const startTime = fields[19];
    // Dead, only not yet waited for by its parent.
    if (state === 'Z' || state === 'X') return undefined;
    const bootId = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    return `${pid} ${startTime} ${bootId}`;
  } catch {
    return undefined;
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return false;
    throw error;
  }
}

async function contentOf(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT';
}
