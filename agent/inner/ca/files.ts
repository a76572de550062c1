/** Paths inside the directory of a CA, and reading and writing them. */
import { open, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { MeshError } from '#src/errors';
import { type AtomicFileSteps, replaceFile } from '#src/files/atomic-file';
import { FileError, fileError } from '#src/files/errors';
import { ensureTrustedDirectory, expectTrusted } from '#src/files/trust';
import { FileLock } from '#src/keystore/file-lock';
import { CaError } from './errors.ts';

export const caFile = (dir: string): string => join(dir, 'ca.sealed');
export const caCertificateFile = (dir: string): string => join(dir, 'ca.pem');
export const trustDirectory = (dir: string): string => join(dir, 'trust');
export const issuedDirectory = (dir: string, name: string): string => join(dir, 'issued', name);

/** Runs `action` while no other command changes the directory. @throws CA_LOCKED, CA_IO */
export async function withLock<T>(dir: string, action: () => Promise<T>): Promise<T> {
  ensureTrustedDirectory(dir);
  let lock: FileLock;
  try {
    lock = await FileLock.acquire(join(dir, 'lock'));
  } catch (cause) {
    if ((cause as { code?: unknown }).code !== 'KEYSTORE_LOCKED') throw caError(dir, cause);
    throw new CaError('CA_LOCKED', `${dir}: another command is at work here`, { cause });
  }
  try {
    return await action();
  } finally {
    await lock.release();
  }
}

/** Whole or not at all, mode 0600. @throws CA_IO */
export async function writeFileSafely(
  path: string,
  bytes: Uint8Array,
  steps?: AtomicFileSteps,
): Promise<void> {
  await io(path, () => replaceFile(path, bytes, { steps }));
}

/** Undefined when there is no such file. @throws CA_CORRUPT when it is longer than `maxLength` bytes, CA_IO */
export async function readBounded(
  path: string,
  maxLength: number,
): Promise<Uint8Array | undefined> {
  return io(path, async () => {
    try {
      await using file = await open(path, 'r');
      const { size } = await file.stat();
      if (size > maxLength) {
        throw new CaError(
          'CA_CORRUPT',
          `${path}: expected at most ${maxLength} bytes, got ${size}`,
        );
      }
      return await readFile(file);
    } catch (error) {
      if (isMissing(error)) return undefined;
      throw error;
    }
  });
}

/** Sorted; empty when there is no such directory. @throws CA_IO */
export async function listDirectory(path: string): Promise<readonly string[]> {
  return io(path, async () => {
    try {
      const names = (await readdir(path)).sort();
      // What others put there would be taken for our own.
      expectTrusted(path);
      return names;
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  });
}

/** @throws CA_IO for what the file system says */
export async function io<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw caError(path, cause);
  }
}

function caError(path: string, cause: unknown): MeshError {
  const known = fileError(path, cause);
  if (known instanceof FileError && known.code !== 'FILE_OTHERS_CAN_WRITE')
    return new CaError('CA_IO', known.message, { cause, hint: known.hint });
  if (cause instanceof MeshError) return cause;
  return new CaError('CA_IO', `${path}: ${(cause as NodeJS.ErrnoException).code ?? 'failed'}`, {
    cause,
  });
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT';
}
