/**
 * The backup that a takeover makes: the state directory as the earlier version left it, in the folder `former` of the state directory
 * itself, where there is always a place for it and second names cost no room. It goes with the first own event: from then on it
 * leads nowhere, and it holds keys that a rotation retires.
 */
import { createHash } from 'node:crypto';
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { equalBytes } from '#src/bytes';
import { FileError, onFile } from '#src/files/errors';
import { readRegularFile, regularFileChunks } from '#src/files/regular-file';
import { decodeJson, encodeJson } from '#src/store/json-value';
import { type DiskSpace, MIN_FREE_BYTES } from '../disk-space.ts';
import { StateError } from '../errors.ts';
import { damaged } from '../system-error.ts';
import type { StateMark } from './mark.ts';
import { STATE_PARTS, type StateContent, stateContent } from './parts.ts';
import { removeWhole, type StateSteps } from './steps.ts';

export const FORMER = 'former';
/** Being made, or being removed. */
export const FORMER_LEFTOVER = 'former.tmp';
const CONTENTS = 'contents.json';
const SCHEMA = 'kelmesh.former-state/1';
/** A line for each 256 entries of the audit log. */
const MAX_CONTENTS_BYTES = 64 << 20;
/** Names and folders cost room too; in bytes each. */
const ENTRY_BYTES = 4_096;
/** Files between two words about how far it is. */
const TELL_EVERY = 2_000;

/** A second name cannot be given here: another file system, or one that has no such thing. */
const NO_LINKS = new Set(['EXDEV', 'EPERM', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

export interface FormerState {
  readonly format: number;
  /** RFC 3339, UTC. */
  readonly at: string;
  readonly mark: StateMark;
  readonly files: readonly FormerFile[];
}

interface FormerFile {
  readonly path: string;
  readonly bytes: number;
  /** Hex SHA-256; null for what is never changed once it is written. */
  readonly digest: string | null;
}

export interface FormerStateDeps {
  readonly stateDir: string;
  readonly steps: StateSteps;
  readonly disk: () => DiskSpace;
  /** How far it is. */
  readonly tell: (text: string) => void;
}

/**
 * Copies the state directory, which nobody has open: what is there in the end is whole and of one moment.
 * @throws FILE_NO_SPACE before anything is copied, CONTROL_STATE_LOCKED when another process wrote to it meanwhile, FILE_…
 */
export async function makeFormer(
  deps: FormerStateDeps,
  about: Pick<FormerState, 'format' | 'at' | 'mark'>,
): Promise<void> {
  const { stateDir, steps, tell } = deps;
  const leftover = join(stateDir, FORMER_LEFTOVER);
  await steps.remove(leftover);
  const former = join(stateDir, FORMER);
  // Of a takeover that was not finished: the earlier version may have gone on since.
  if (existsSync(former)) await removeWhole(steps, former, leftover);
  const content = stateContent(stateDir);
  await onFile(leftover, async () => {
    await steps.makeDirectory(leftover);
    const canLink = await linksIn(deps, content, leftover);
    expectRoom(deps, content, canLink);
    for (const path of content.directories) await steps.makeDirectory(join(leftover, path));
    const files: FormerFile[] = [];
    for (const { path, bytes, isImmutable } of content.files) {
      const [from, to] = [join(stateDir, path), join(leftover, path)];
      if (isImmutable && canLink) await steps.link(from, to);
      else await steps.copy(from, to);
      files.push({ path, bytes, digest: isImmutable ? null : digestOf(to) });
      if (files.length % TELL_EVERY === 0)
        tell(`${files.length} of ${content.files.length} files are in the backup`);
    }
    for (const path of content.directories) await steps.syncDirectory(join(leftover, path));
    expectUnchanged(stateDir, content);
    const { format, at, mark } = about;
    await steps.write(join(leftover, CONTENTS), encodeContents({ format, at, mark, files }));
    await steps.rename(leftover, former);
    await steps.syncDirectory(stateDir);
  });
}

/** The backup, as its contents say; undefined without one. @throws CONTROL_STATE_DAMAGED, FILE_… */
export function readFormer(stateDir: string): FormerState | undefined {
  if (!existsSync(join(stateDir, FORMER))) return undefined;
  const path = join(stateDir, FORMER, CONTENTS);
  let read: FormerState | undefined;
  try {
    read = parseContents(readRegularFile(path, MAX_CONTENTS_BYTES));
  } catch (error) {
    throw damaged(path, error instanceof Error ? error.message : String(error), error);
  }
  if (read === undefined) throw damaged(path, `it is not of the form ${SCHEMA}`);
  return read;
}

/** Undefined: not exactly of this form. @throws SyntaxError */
export function parseContents(bytes: Uint8Array): FormerState | undefined {
  const { schema, format, at, mark, files } = Object(decodeJson(bytes));
  const isWhole =
    schema === SCHEMA &&
    isCount(format) &&
    typeof at === 'string' &&
    Object(mark) === mark &&
    isHead(mark.head) &&
    isSaidOrNull(mark.pending) &&
    Array.isArray(mark.receipted) &&
    mark.receipted.every((said: unknown) => said !== null && isSaidOrNull(said)) &&
    Array.isArray(files) &&
    files.every(isFormerFile);
  if (!isWhole) return undefined;
  const contents = { format, at, mark, files };
  return equalBytes(encodeContents(contents), bytes) ? contents : undefined;
}

export function encodeContents({ format, at, mark, files }: FormerState): Uint8Array {
  const { head, pending, receipted } = mark;
  const place = head && { aid: head.aid, sn: head.sn, said: head.said };
  return encodeJson({
    schema: SCHEMA,
    ...{ format, at, mark: { head: place, pending, receipted } },
    files: files.map(({ path, bytes, digest }) => ({ path, bytes, digest })),
  });
}

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

const isSaidOrNull = (value: unknown) =>
  value === null || (typeof value === 'string' && /^[A-Za-z0-9_-]{44}$/.test(value));

function isHead(value: unknown): boolean {
  if (value === null) return true;
  const { aid, sn, said } = Object(value);
  return [aid, said].every((one) => one !== null && isSaidOrNull(one)) && isCount(sn);
}

/** No path leads out of the backup. */
function isFormerFile(value: unknown): boolean {
  const { path, bytes, digest } = Object(value);
  return (
    typeof path === 'string' &&
    STATE_PARTS.some((part) => path === part || path.startsWith(`${part}/`)) &&
    path.split('/').every((name) => name !== '' && name !== '.' && name !== '..') &&
    isCount(bytes) &&
    (digest === null || /^[0-9a-f]{64}$/.test(digest))
  );
}

/** Every file of the backup is there, whole. @throws CONTROL_STATE_DAMAGED */
export async function expectWhole(stateDir: string, { files }: FormerState): Promise<void> {
  for (const { path, bytes, digest } of files) {
    const full = join(stateDir, FORMER, path);
    const size = statSync(full, { throwIfNoEntry: false })?.size;
    if (size !== bytes)
      throw damaged(full, size === undefined ? 'it is missing' : `${size} bytes, not ${bytes}`);
    if (digest !== null && digestOf(full) !== digest)
      throw damaged(full, 'it is not what was copied');
  }
}

/** The own files of the audit log that are not as they were; `audit/own-event` is told apart by the log itself. */
export async function changedSince(
  stateDir: string,
  { files }: FormerState,
): Promise<string | undefined> {
  const former = new Map(files.map((file) => [file.path, file]));
  const now = stateContent(stateDir).files.filter(({ path }) => isEvidence(path));
  for (const { path, bytes } of now) {
    const held = former.get(path);
    if (held === undefined || held.bytes !== bytes) return path;
    if (held.digest !== null && digestOf(join(stateDir, path)) !== held.digest) return path;
  }
  return files.find(({ path }) => isEvidence(path) && !now.some((each) => each.path === path))
    ?.path;
}

/** Nothing of it is left when it resolves, and nothing that is half of it at any moment. */
export async function dropFormer({
  stateDir,
  steps,
}: Pick<FormerStateDeps, 'stateDir' | 'steps'>): Promise<void> {
  const former = join(stateDir, FORMER);
  if (existsSync(former)) await removeWhole(steps, former, join(stateDir, FORMER_LEFTOVER));
}

const isEvidence = (path: string) => path.startsWith('audit/') && path !== 'audit/own-event';

function digestOf(path: string): string {
  const hash = createHash('sha256');
  for (const chunk of regularFileChunks(path, Number.MAX_SAFE_INTEGER)) hash.update(chunk);
  return hash.digest('hex');
}

async function linksIn(
  { stateDir, steps }: FormerStateDeps,
  { files }: StateContent,
  leftover: string,
): Promise<boolean> {
  const first = files.find(({ isImmutable }) => isImmutable);
  if (first === undefined) return true;
  const probe = join(leftover, 'probe');
  try {
    await steps.link(join(stateDir, first.path), probe);
  } catch (error) {
    if (NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) return false;
    throw error;
  }
  await steps.remove(probe);
  return true;
}

function expectRoom(
  { disk, stateDir }: FormerStateDeps,
  { files, directories }: StateContent,
  canLink: boolean,
): void {
  const copied = files.filter(({ isImmutable }) => !(isImmutable && canLink));
  const entries = files.length + directories.length;
  const needed = copied.reduce((sum, { bytes }) => sum + bytes, entries * ENTRY_BYTES);
  const { freeBytes, freeFiles } = disk();
  if (freeBytes < needed + MIN_FREE_BYTES)
    throw new FileError(
      'FILE_NO_SPACE',
      `${stateDir}: the backup before the takeover needs ${needed} bytes and ${MIN_FREE_BYTES} that stay free, ${freeBytes} are free`,
    );
  const made = copied.length + directories.length;
  if (freeFiles !== undefined && freeFiles < made)
    throw new FileError(
      'FILE_NO_SPACE',
      `${stateDir}: the backup before the takeover makes ${made} files, there is room for ${freeFiles}`,
    );
}

function expectUnchanged(stateDir: string, before: StateContent): void {
  const stamps = ({ files }: StateContent) => files.map(({ path, stamp }) => `${path} ${stamp}`);
  const after = new Set(stamps(stateContent(stateDir)));
  const changed = stamps(before).find((stamp) => !after.delete(stamp)) ?? [...after][0];
  if (changed !== undefined)
    throw new StateError(
      'CONTROL_STATE_LOCKED',
      `${stateDir}: another process changed ${changed.split(' ')[0]} while it was copied`,
    );
}
