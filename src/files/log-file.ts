/** Files that grow: opened without following a link, so that nobody chooses what they are added to. */
import { constants, fstatSync, openSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { FileError, onFile, onFileSync } from './errors.ts';

const { O_APPEND, O_CREAT, O_NOFOLLOW, O_NONBLOCK, O_WRONLY } = constants;
// Not blocking: a pipe without a reader is refused, and not waited for.
const APPEND = O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_WRONLY;

/** Mode 0600 when it is made here; the caller closes it. @throws FILE_IN_THE_WAY for a link or anything but a file, FILE_… */
export function openForAppendSync(path: string): number {
  return onFileSync(path, () => {
    const file = openSync(path, APPEND, 0o600);
    expectRegular(path, fstatSync(file));
    return file;
  });
}

/** As {@link openForAppendSync}. */
export async function openForAppend(path: string): Promise<FileHandle> {
  return onFile(path, async () => {
    const file = await open(path, APPEND, 0o600);
    try {
      expectRegular(path, await file.stat());
      return file;
    } catch (error) {
      await file.close();
      throw error;
    }
  });
}

function expectRegular(path: string, stats: { isFile(): boolean }): void {
  if (!stats.isFile()) throw new FileError('FILE_IN_THE_WAY', `${path} is no regular file`);
}
