/**
 * Which grounds are on this machine and which process holds each: one file per ground in a directory that only root
 * writes, and that is empty after a reboot, like `/run/netns` beside it.
 */
import { readFileSync, readlinkSync } from 'node:fs';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { replaceFile } from '#src/files/atomic-file';
import { ensureTrustedDirectory } from '#src/files/trust';
import type { Ground } from './ground-removal.ts';

const DIRECTORY = '/run/kelmesh-grounds';

/** A process id is used again; together with the start it is not, until the machine starts afresh. */
export interface Owner {
  readonly pid: number;
  /** Clock ticks since the machine started (`proc_pid_stat(5)`, field 22). */
  readonly started: string;
  /** In another one the same id is another process. */
  readonly pidNamespace: string;
}

export interface LedgerEntry {
  readonly path: string;
  readonly what: string;
  readonly owner: Owner;
  readonly ground: Ground;
}

export function thisProcess(): Owner {
  return ownerOf(process.pid) as Owner;
}

/** One of which this cannot be told counts as alive. */
export function isAlive(owner: Owner): boolean {
  if (owner.pidNamespace !== thisProcess().pidNamespace) return true;
  return ownerOf(owner.pid)?.started === owner.started;
}

/** @returns the path of the entry, for {@link strike} */
export async function enter(what: string, ground: Ground): Promise<string> {
  ensureTrustedDirectory(DIRECTORY);
  const path = join(DIRECTORY, `${ground.namespaces[0] ?? process.pid}.json`);
  await replaceFile(path, Buffer.from(JSON.stringify({ what, owner: thisProcess(), ground })));
  return path;
}

export async function strike(path: string): Promise<void> {
  await rm(path, { force: true });
}

export async function ledgerEntries(): Promise<readonly LedgerEntry[]> {
  const names = await readdir(DIRECTORY).catch(() => []);
  const paths = names.filter((name) => name.endsWith('.json')).map((name) => join(DIRECTORY, name));
  const entries = await Promise.all(
    paths.map(async (path) => {
      // Struck out meanwhile.
      const text = await readFile(path, 'utf8').catch(() => undefined);
      return text === undefined ? [] : [{ ...(JSON.parse(text) as LedgerEntry), path }];
    }),
  );
  return entries.flat();
}

function ownerOf(pid: number): Owner | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The name of the program stands in brackets and may hold both brackets and blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    // A zombie holds nothing any more.
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { pid, started: fields[19] ?? '', pidNamespace: readlinkSync('/proc/self/ns/pid') };
  } catch {
    return undefined;
  }
}
