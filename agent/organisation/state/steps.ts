/** The steps by which a state directory is copied and exchanged: each is done or not, and a crash test puts something between them. */
import { constants } from 'node:fs';
import { copyFile, link, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { atomicFileSteps, replaceFile } from '#src/files/atomic-file';

export interface StateSteps {
  /** Mode 0700; one that is there already will do. */
  makeDirectory(path: string): Promise<void>;
  /** A second name of the file. Throws what the system says where the file system has no such thing. */
  link(from: string, to: string): Promise<void>;
  /** Mode as `from`; durable when it resolves. */
  copy(from: string, to: string): Promise<void>;
  /** Whole or not at all; durable when it resolves. */
  write(path: string, bytes: Uint8Array): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  /** With all that is in it; a crash may leave some of it. */
  remove(path: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
}

export const stateSteps: StateSteps = {
  async makeDirectory(path) {
    await mkdir(path, { recursive: true, mode: 0o700 });
  },
  link,
  async copy(from, to) {
    await copyFile(from, to, constants.COPYFILE_EXCL);
    await atomicFileSteps.sync(to);
  },
  write: (path, bytes) => replaceFile(path, bytes),
  rename,
  remove: (path) => rm(path, { recursive: true, force: true }),
  async syncDirectory(path) {
    await using directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
    await directory.sync();
  },
};

/** Gone under this name at once, then bit by bit: what is half gone has the name of a leftover. */
export async function removeWhole(
  steps: StateSteps,
  path: string,
  leftover: string,
): Promise<void> {
  await steps.remove(leftover);
  await steps.rename(path, leftover);
  await steps.syncDirectory(dirname(path));
  await steps.remove(leftover);
}
