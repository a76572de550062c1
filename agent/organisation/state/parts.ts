/** What a state directory consists of, as far as a format says how it is to be read: the rest is no business of a takeover. */
import { lstatSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { onFileSync } from '#src/files/errors';

/** The database last: without it a state directory holds no organisation. Left out are the inner CA, whose format is its own, and secrets. */
export const STATE_PARTS = ['audit', 'custodians', 'keys.sealed', 'softhsm', 'store'] as const;

/** Never changed once they are written: tables of the database, tiles of the audit log. A second name is as good as a copy. */
const IMMUTABLE = /\.ldb$|\.sst$/;
/** Belongs to a process, or is written by nobody who reads. */
const LEFT_OUT = /\.lock\.|^LOCK$|^LOG(\.old)?$|\.tmp$/;

export interface StateFile {
  /** Below the state directory, `/`-separated. */
  readonly path: string;
  readonly bytes: number;
  readonly isImmutable: boolean;
  /** Changes when the content does: inode, size and time of the last write. */
  readonly stamp: string;
}

export interface StateContent {
  /** Below the state directory; each stands behind the one that it is in. */
  readonly directories: readonly string[];
  readonly files: readonly StateFile[];
}

/** @throws FILE_… */
export function stateContent(stateDir: string): StateContent {
  const directories: string[] = [];
  const files: StateFile[] = [];
  const visit = (path: string, isImmutable: boolean): void => {
    const full = join(stateDir, path);
    // A part may stand on another disk, behind a link; nothing within one does.
    const found = path.includes('/') ? lstatSync(full) : statSync(full, { throwIfNoEntry: false });
    if (found?.isDirectory()) {
      directories.push(path);
      for (const name of readdirSync(full).sort())
        if (!LEFT_OUT.test(name)) visit(`${path}/${name}`, isImmutable || name === 'tile');
    } else if (found?.isFile())
      files.push({
        path,
        bytes: found.size,
        isImmutable: isImmutable || IMMUTABLE.test(path),
        stamp: `${found.ino} ${found.size} ${found.mtimeMs}`,
      });
  };
  for (const part of STATE_PARTS) onFileSync(join(stateDir, part), () => visit(part, false));
  return { directories, files };
}
