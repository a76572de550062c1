/**
 * Who else can change a file or directory: what names a program that runs as root, or holds keys and logs, must
 * not stand where others can write.
 *
 * Trusted owners are root and the user of the process. In a user namespace (user_namespaces(7)) every owner outside
 * it looks the same, the overflow id; there that one counts as trusted, since nothing can tell it from root.
 */
import {
  accessSync,
  constants,
  mkdirSync,
  readFileSync,
  realpathSync,
  type Stats,
  statSync,
} from 'node:fs';
import { lstat, readlink } from 'node:fs/promises';
import { dirname, join, parse, resolve } from 'node:path';
import { FileError, onFileSync } from './errors.ts';

/** path_resolution(7) */
const MAX_LINKS = 40;

const GROUP_OR_OTHERS_WRITE = 0o022;
const STICKY = 0o1000;

/**
 * A file, or a directory with all that is made in it, that nobody but root and this user can change, nor put another
 * in the place of.
 * @throws FILE_OTHERS_CAN_WRITE, FILE_…
 */
export function expectTrusted(path: string): void {
  const target = resolve(path);
  onFileSync(target, () => {
    expectOwn(target, statSync(target));
    // Where the name stands, and where that is to which it may be a link.
    expectTrustedWay(dirname(target));
    expectTrustedWay(dirname(realpathSync(target)));
  });
}

/** As {@link expectTrusted} for a directory, which is made (mode 0700) where there is none. */
export function ensureTrustedDirectory(path: string): void {
  onFileSync(resolve(path), () => mkdirSync(path, { recursive: true, mode: 0o700 }));
  expectTrusted(path);
}

/**
 * A directory in which a new file of this user stays the file of that name: a sticky one will do.
 * @throws FILE_OTHERS_CAN_WRITE, FILE_…
 */
export function expectTrustedPlace(directory: string): void {
  const target = resolve(directory);
  onFileSync(target, () => {
    expectTrustedWay(target);
    expectTrustedWay(realpathSync(target));
  });
}

/** The directory with its links resolved; one that belongs to another user is not followed. @throws FILE_LINK_OF_OTHERS */
export async function resolveDirectory(path: string): Promise<string> {
  let links = 0;
  let at = '/';
  const parts = resolve(path)
    .split('/')
    .filter((part) => part !== '');
  while (parts.length > 0) {
    const next = join(at, parts.shift() as string);
    const found = await lstat(next);
    if (!found.isSymbolicLink()) {
      at = next;
      continue;
    }
    if (!isTrustedOwner(found.uid) || ++links > MAX_LINKS)
      throw new FileError(
        'FILE_LINK_OF_OTHERS',
        `${next} is a symbolic link of user ${found.uid}, on the way to ${path}`,
      );
    parts.unshift(
      ...resolve(at, await readlink(next))
        .split('/')
        .filter((part) => part !== ''),
    );
    at = '/';
  }
  return at;
}

/** From the root to `directory`: nobody else can put another thing at a name. In a sticky one only owners can. */
function expectTrustedWay(directory: string): void {
  const { root } = parse(directory);
  for (let at = directory; ; at = dirname(at)) {
    expectOwn(at, statSync(at), STICKY);
    if (at === root) return;
  }
}

function expectOwn(path: string, { uid, mode }: Stats, excuse = 0): void {
  if (!isTrustedOwner(uid))
    throw new FileError(
      'FILE_OTHERS_CAN_WRITE',
      `${path} belongs to user ${uid}, expected ${[...new Set([0, own()])].map((id) => `user ${id}`).join(' or ')}`,
    );
  if ((mode & GROUP_OR_OTHERS_WRITE) === 0 || (mode & excuse) !== 0 || isOnReadOnlyMount(path))
    return;
  throw new FileError(
    'FILE_OTHERS_CAN_WRITE',
    `${path} has mode ${(mode & 0o7777).toString(8)}: ${(mode & 0o002) !== 0 ? 'everybody' : 'its group'} can write to it`,
  );
}

/** What the mode grants nobody can use there: configuration that an orchestrator mounts often has mode 0777. */
function isOnReadOnlyMount(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return false;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EROFS';
  }
}

function own(): number {
  return process.geteuid?.() ?? 0;
}

/** Root or the user of the process. */
export function isTrustedOwner(uid: number): boolean {
  return trustedOwners().has(uid);
}

function trustedOwners(): ReadonlySet<number> {
  return new Set([0, own(), ...(overflowOwner() ?? [])]);
}

/** @returns the id that stands for owners outside the user namespace, when the process is in one that maps not all ids */
function overflowOwner(): readonly number[] | undefined {
  const [, , count] = readFileSync('/proc/self/uid_map', 'utf8').trim().split(/\s+/);
  if (count === '4294967295') return undefined;
  return [Number(readFileSync('/proc/sys/kernel/overflowuid', 'utf8'))];
}
