/**
 * A state directory on a disk that is full or read-only, for commands that only read: a copy in memory of what a database
 * and a key store write to when they open, with links to the large files that they only read. What is written there
 * goes with it. Keys and secrets in it are sealed as they are on the disk; mode 0700.
 */
import {
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { copyFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FORMAT_FILE, formatFile, readFormat, STATE_FORMAT } from './state/format.ts';

const MEMORY = '/dev/shm';
/** Of one file that is copied, in bytes: the log of the database is cut at 4 MiB, and no other file grows like it. */
const MAX_COPY = 64 * 1024 * 1024;
/** Never changed once they are written: tables of the database, tiles of the audit log. */
const IMMUTABLE = /\.ldb$|\.sst$/;
/** Belongs to a process, or is written by nobody who reads. */
const LEFT_OUT =
  /\.lock\.|^LOCK$|^LOG(\.old)?$|\.tmp$|^agent\.log$|^wireguard$|^ca$|^former$|^replaced$/;

export interface StateCopy extends Disposable {
  readonly dir: string;
}

/** @throws what the system says, when there is no memory for it either */
export async function copyState(stateDir: string): Promise<StateCopy> {
  const dir = makeDirectory();
  const copy = { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
  try {
    await copyInto(stateDir, dir, false);
    // What goes in a moment needs no backup: an earlier version's is read as it is.
    if (readFormat(dir)?.format !== STATE_FORMAT)
      writeFileSync(join(dir, FORMAT_FILE), formatFile({ format: STATE_FORMAT }));
  } catch (error) {
    copy[Symbol.dispose]();
    throw error;
  }
  return copy;
}

function makeDirectory(): string {
  try {
    return mkdtempSync(join(MEMORY, 'kelmesh-read-'));
  } catch {
    return mkdtempSync(join(tmpdir(), 'kelmesh-read-'));
  }
}

async function copyInto(from: string, to: string, isImmutable: boolean): Promise<void> {
  for (const name of readdirSync(from)) {
    if (LEFT_OUT.test(name)) continue;
    const [source, target] = [join(from, name), join(to, name)];
    const found = lstatSync(source);
    if (found.isDirectory()) {
      mkdirSync(target, { mode: 0o700 });
      await copyInto(source, target, isImmutable || name === 'tile');
    } else if (found.isFile()) {
      if (isImmutable || IMMUTABLE.test(name) || found.size > MAX_COPY) symlinkSync(source, target);
      else await copyFile(source, target, constants.COPYFILE_EXCL);
    }
  }
}
