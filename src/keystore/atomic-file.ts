/**
 * Replacing a file so that a crash at any moment leaves the old content or the new one, whole.
 *
 * Write beside it, fsync, rename over it, fsync the directory (POSIX.1 rename is atomic; the last step makes
 * the name durable). An error at or after the rename leaves open which of the two is there.
 */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** The four steps; a crash test puts something between them. */
export interface AtomicFileSteps {
  write(path: string, bytes: Uint8Array): Promise<void>;
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
}

export const atomicFileSteps: AtomicFileSteps = {
  async write(path, bytes) {
    // What a crash left behind goes first, so that the mode is ours and no link is followed.
    await rm(path, { force: true });
    await using file = await open(path, 'wx', 0o600);
    await file.writeFile(bytes);
  },
  async sync(path) {
    await using file = await open(path, 'r+');
    await file.sync();
  },
  rename,
  async syncDirectory(path) {
    await using directory = await open(path, 'r');
    await directory.sync();
  },
};

/** Durable when it resolves; mode 0600. The caller holds a lock: two writers at once would share the temporary file. */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  steps: AtomicFileSteps = atomicFileSteps,
): Promise<void> {
  const temporary = `${path}.tmp`;
  await steps.write(temporary, bytes);
  await steps.sync(temporary);
  await steps.rename(temporary, path);
  await steps.syncDirectory(dirname(path));
}
