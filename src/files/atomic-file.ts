/**
 * Writing a file: the one way in which the program does it.
 *
 * The content is made new beside its place (`O_EXCL`: no link is followed, and nothing that another user has
 * prepared is written to), with owner and mode of its own, fsynced, and renamed over the name, which replaces
 * a link and not what it points to; then the directory is fsynced (POSIX.1 rename is atomic; the last step makes
 * the name durable). A crash at any moment leaves the old content or the new one, whole. An error at or after
 * the rename leaves open which of the two is there.
 */

import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { lstat, open, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { FileError, onFile } from './errors.ts';
import { resolveDirectory } from './trust.ts';

/** The four steps; a crash test puts something between them. */
export interface AtomicFileSteps {
  /** @param mode of the file, less the mask of the process */
  write(path: string, bytes: Uint8Array, mode?: number): Promise<void>;
  sync(path: string): Promise<void>;
  rename(from: string, to: string): Promise<void>;
  syncDirectory(path: string): Promise<void>;
}

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** Characters of the name kept in that of the temporary file, which must fit in 255 bytes. */
const MAX_NAME = 32;

/** Readable by its owner alone. */
export const PRIVATE = 0o600;
/** For everybody to read: what travels and holds no secret. */
export const PUBLIC = 0o644;

export const atomicFileSteps: AtomicFileSteps = {
  async write(path, bytes, mode = PRIVATE) {
    // What a crash left behind goes first, so that owner and mode are ours.
    await rm(path, { force: true });
    await using file = await open(path, 'wx', mode);
    await file.writeFile(bytes);
  },
  async sync(path) {
    await using file = await open(path, constants.O_RDWR | constants.O_NOFOLLOW);
    await file.sync();
  },
  rename,
  async syncDirectory(path) {
    await using directory = await open(path, 'r');
    await directory.sync();
  },
};

export interface ReplaceOptions {
  /** {@link PRIVATE} unless said otherwise. */
  readonly mode?: number;
  readonly steps?: AtomicFileSteps | undefined;
}

/**
 * A file of the program's own, in a directory that nobody else can write. Durable when it resolves. The caller
 * holds a lock: two writers at once would share the temporary file, whose name is `path` with `.tmp`, so that
 * crashes leave no more than one.
 * @throws FILE_…
 */
export async function replaceFile(
  path: string,
  bytes: Uint8Array,
  { mode = PRIVATE, steps = atomicFileSteps }: ReplaceOptions = {},
): Promise<void> {
  const temporary = `${path}.tmp`;
  await onFile(path, async () => {
    await steps.write(temporary, bytes, mode);
    await steps.sync(temporary);
    await steps.rename(temporary, path);
    await steps.syncDirectory(dirname(path));
  });
}

export interface OutputOptions {
  /** {@link PRIVATE} unless said otherwise. */
  readonly mode?: number;
  /** Fails where the name is taken, instead of replacing what has it. */
  readonly isNew?: boolean;
  readonly steps?: AtomicFileSteps | undefined;
}

/**
 * A file that an operator asked for, in a directory that others may be able to write: the name beside its place
 * cannot be guessed, and the directory is held open, so that nobody puts another in its place meanwhile.
 * Durable when it resolves; a failure leaves nothing behind.
 * @throws FILE_EXISTS, FILE_IN_THE_WAY for a name that is a device, a pipe or a directory, FILE_LINK_OF_OTHERS, FILE_…
 */
export async function writeOutput(
  path: string,
  bytes: Uint8Array,
  { mode = PRIVATE, isNew = false, steps = atomicFileSteps }: OutputOptions = {},
): Promise<void> {
  const target = resolve(path);
  await onFile(target, async () => {
    const real = await resolveDirectory(dirname(target));
    await using directory = await open(real, DIRECTORY);
    // As openat(2) and renameat(2): what the descriptor stands for, whatever has its name by now.
    const held = join('/proc/self/fd', String(directory.fd));
    const name = basename(target);
    const place = join(held, name);
    const temporary = join(
      held,
      `.${name.slice(0, MAX_NAME)}.${randomBytes(8).toString('hex')}.tmp`,
    );
    if (!isNew) await expectReplaceable(join(real, name), place);
    try {
      await steps.write(temporary, bytes, mode);
      await steps.sync(temporary);
      // The name is taken first: a rename would replace what has it.
      if (isNew) await (await open(place, 'wx', mode)).close();
      await steps.rename(temporary, place);
    } finally {
      await rm(temporary, { force: true });
    }
    await directory.sync();
  });
}

/** Devices, pipes, sockets and directories stay what they are; `/dev/stdout` is a link to one of them. */
async function expectReplaceable(target: string, place: string): Promise<void> {
  const found = await lstat(place).catch(() => undefined);
  if (found === undefined || found.isFile()) return;
  const end = found.isSymbolicLink() ? await stat(place).catch(() => undefined) : found;
  const isReplaced = found.isSymbolicLink() && (end === undefined || end.isFile());
  if (!isReplaced || /^\/(dev|proc|sys)\//.test(target))
    throw new FileError('FILE_IN_THE_WAY', `${target} is there and is no regular file`);
}
