/** What the system or the database refused is no defect of the program: it gets a code, the path and a cure. */
import { MeshError } from '#src/errors';
import { FileError, fileError } from '#src/files/errors';
import { StateError } from './errors.ts';

/** System calls on files; those of sockets have the same errors for other reasons. */
const FILE_CALLS = new Set([
  'open',
  'read',
  'write',
  'fsync',
  'fdatasync',
  'ftruncate',
  'mkdir',
  'rename',
  'unlink',
  'scandir',
  'stat',
  'lstat',
  'copyfile',
  'symlink',
]);

export function withCode(error: unknown): unknown {
  if (error instanceof MeshError) return error;
  const database = databaseError(undefined, error);
  if (database !== undefined) return database;
  for (let at = error; at instanceof Error; at = at.cause) {
    const { syscall, path, message } = at as NodeJS.ErrnoException;
    if (typeof syscall !== 'string') continue;
    const known = FILE_CALLS.has(syscall) ? fileError(path ?? 'a file', at) : undefined;
    return known instanceof FileError
      ? known
      : new StateError('CONTROL_SYSTEM', message, { cause: error });
  }
  return error;
}

/** The disk is full or read-only: what only reads can go on with a copy. */
export function isUnwritable(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code } = withCode(at) as { code?: unknown };
    if (code === 'FILE_NO_SPACE' || code === 'FILE_READ_ONLY') return true;
  }
  return false;
}

/** In the words of LevelDB: `IO error: PATH: what the system said`, `Corruption: what is wrong`. */
const systemWords: readonly (readonly [RegExp, string])[] = [
  [/: No space left on device$/, 'ENOSPC'],
  [/: Disk quota exceeded$/, 'EDQUOT'],
  [/: Read-only file system$/, 'EROFS'],
  [/: (Permission denied|Operation not permitted)$/, 'EACCES'],
  [/: Input\/output error$/, 'EIO'],
];

/**
 * Looks through `error` and its causes for what LevelDB said. @param path of the database, where it is known
 * @returns undefined when LevelDB said nothing
 */
export function databaseError(path: string | undefined, error: unknown): Error | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const { code, message } = at as Error & { code?: unknown };
    const where = /^IO error: (\/[^:]+):/.exec(message)?.[1] ?? path ?? 'the database';
    if (code === 'LEVEL_LOCKED')
      return new StateError('CONTROL_STATE_LOCKED', `${where} is open in another process`, {
        cause: error,
      });
    const errno = systemWords.find(([pattern]) => pattern.test(message))?.[1];
    if (code === 'LEVEL_IO_ERROR' && errno !== undefined) {
      const known = fileError(
        where,
        Object.assign(new Error(message, { cause: error }), { code: errno }),
      );
      if (known instanceof FileError) return known;
    }
    if (code === 'LEVEL_IO_ERROR' || code === 'LEVEL_CORRUPTION')
      return damaged(where, message, error);
  }
  return undefined;
}

export function damaged(path: string, what: string, cause?: unknown): StateError {
  return new StateError('CONTROL_STATE_DAMAGED', `${path} cannot be read: ${what}`, { cause });
}
