/** Errors of the file system: each names the path, says what is wrong with it, and what to do. */
import { type ErrorDetails, type ErrorTable, MeshError } from '../errors.ts';

export const fileErrors = {
  FILE_NO_SPACE:
    'Free space on the file system of the path named, or raise the quota; nothing was changed, and commands that only read go on',
  FILE_READ_ONLY:
    'Mount the file system of the path named for writing, after finding out why it is read-only: the kernel does that to a damaged disk',
  FILE_NO_ACCESS:
    'Run the command as the user who owns the path named, or as root; or correct its owner and mode',
  FILE_NOT_FOUND: 'Make the directory of the path named, or correct the path',
  FILE_IN_THE_WAY:
    'Choose another name: what stands there is no regular file, and it is not replaced',
  FILE_NOT_REGULAR:
    'Name a regular file: a pipe, device or directory is not read here; `id verify -` reads standard input',
  FILE_TOO_LARGE:
    'Check that it is the file you mean; nothing that this command reads is that large',
  FILE_EXISTS: 'Choose another name, or move away the file that is there',
  FILE_OTHERS_CAN_WRITE:
    'Run `chmod go-w` on the path named, and make it belong to root or to the user who runs kelmesh',
  FILE_LINK_OF_OTHERS:
    'Name the directory itself: a symbolic link of another user on the way to it is not followed',
  FILE_IO:
    'Look for faults of the disk in the log of the kernel; restore from a backup what is damaged',
} as const satisfies ErrorTable;

export class FileError extends MeshError<keyof typeof fileErrors> {
  constructor(code: keyof typeof fileErrors, message: string, details?: ErrorDetails) {
    super(code, message, fileErrors, details);
  }
}

const codes: Readonly<Record<string, keyof typeof fileErrors>> = {
  ENOSPC: 'FILE_NO_SPACE',
  EDQUOT: 'FILE_NO_SPACE',
  EROFS: 'FILE_READ_ONLY',
  EACCES: 'FILE_NO_ACCESS',
  EPERM: 'FILE_NO_ACCESS',
  ENOENT: 'FILE_NOT_FOUND',
  ENOTDIR: 'FILE_NOT_FOUND',
  EISDIR: 'FILE_IN_THE_WAY',
  ELOOP: 'FILE_IN_THE_WAY',
  ENXIO: 'FILE_IN_THE_WAY',
  EEXIST: 'FILE_EXISTS',
  EIO: 'FILE_IO',
};

/** errno(3) in words, as strerror(3) has them. */
const words: Readonly<Record<string, string>> = {
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is used up',
  EROFS: 'the file system is read-only',
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  ENOTDIR: 'a part of the path is no directory',
  EISDIR: 'is a directory',
  ELOOP: 'is a symbolic link',
  ENXIO: 'is no regular file',
  EEXIST: 'is there already',
  EIO: 'input/output error',
};

/**
 * The code for what the system said about `path`, which the system itself often does not name.
 * @returns `cause` itself when it is an error of ours, or none that the system gives for a file
 */
export function fileError(path: string, cause: unknown): unknown {
  const errno = (cause as { code?: unknown } | undefined)?.code;
  if (cause instanceof MeshError || typeof errno !== 'string') return cause;
  const code = codes[errno];
  return code === undefined
    ? cause
    : new FileError(code, `${path}: ${words[errno] ?? errno} (${errno})`, { cause });
}

/** Runs `action` on the file or directory `path`. @throws FILE_… for what the system says */
export async function onFile<T>(path: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (error) {
    throw fileError(path, error);
  }
}

/** As {@link onFile}, without waiting. */
export function onFileSync<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    throw fileError(path, error);
  }
}
