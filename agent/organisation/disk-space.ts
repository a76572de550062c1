/** How much room the file system of the state directory has. */
import { statfsSync } from 'node:fs';

export interface DiskSpace {
  readonly path: string;
  readonly freeBytes: number;
  readonly totalBytes: number;
  /** Files and directories that can still be made; undefined where the file system does not count them. */
  readonly freeFiles: number | undefined;
}

/** A log of a year fits in this many times over; what is left is time to act in. */
const LOW_BYTES = 256 * 1024 * 1024;
/** Of a small disk a part is low, but never less than the database needs to open. */
const LOW_PART = 0.1;
export const MIN_FREE_BYTES = 16 * 1024 * 1024;
const LOW_FILES = 1_024;

/** For users who are not root: what the file system keeps for root counts as used. */
export function diskSpace(path: string): DiskSpace {
  const { bavail, bsize, blocks, files, ffree } = statfsSync(path);
  return {
    path,
    freeBytes: bavail * bsize,
    totalBytes: blocks * bsize,
    freeFiles: files === 0 ? undefined : ffree,
  };
}

/** What to tell the operator; undefined while there is room. */
export function diskWarning({
  path,
  freeBytes,
  totalBytes,
  freeFiles,
}: DiskSpace): string | undefined {
  const low = Math.max(MIN_FREE_BYTES, Math.min(LOW_BYTES, totalBytes * LOW_PART));
  if (freeBytes < low)
    return `the disk of ${path} is nearly full: ${mebibytes(freeBytes)} of ${mebibytes(totalBytes)} are free; when it is full nothing is recorded, so no key changes and no tunnel comes up`;
  if (freeFiles !== undefined && freeFiles < LOW_FILES)
    return `the file system of ${path} has room for ${freeFiles} more files; without it nothing is recorded, so no key changes and no tunnel comes up`;
  return undefined;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MiB`;
}
