/**
 * What happens before the database of a state directory is opened: a way back that was begun is finished, and what an earlier version
 * left is taken over, with a backup. The one moment of a takeover is the write of the file `format`: before it the earlier version
 * may go on as if nothing had been, and what was copied is made anew.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '#src/clock';
import { onFile } from '#src/files/errors';
import { KeyStoreError } from '#src/keystore/errors';
import { FileLock } from '#src/keystore/file-lock';
import type { Database } from '#src/store/durable-table';
import { StateError } from '../errors.ts';
import { FORMAT_FILE, formatFile, readFormat, STATE_FORMAT, type StateFormat } from './format.ts';
import { FORMER_LEFTOVER, type FormerStateDeps, makeFormer } from './former-state.ts';
import type { StateMark } from './mark.ts';
import { finishRestore, REPLACED, RESTORING } from './restore.ts';

export interface TakeOverDeps extends FormerStateDeps {
  readonly clock: Clock;
  /** Opens it as it is. Throws CONTROL_STATE_LOCKED, CONTROL_STATE_DAMAGED, FILE_… */
  readonly openDatabase: () => Promise<Database>;
  readonly markOf: (db: Database) => Promise<StateMark>;
}

/**
 * Brings the state directory to the format of this program.
 * @returns what was taken over, when it was now; undefined when there was nothing to do
 * @throws CONTROL_STATE_NEWER, CONTROL_STATE_LOCKED, CONTROL_STATE_DAMAGED, FILE_…
 */
export async function ensureFormat(deps: TakeOverDeps): Promise<StateFormat | undefined> {
  const { stateDir, steps } = deps;
  const isBegun = existsSync(join(stateDir, RESTORING));
  const found = readFormat(stateDir);
  if (found === undefined && !isBegun) {
    await writeFormat(deps, { format: STATE_FORMAT });
    return undefined;
  }
  const leftovers = [FORMER_LEFTOVER, REPLACED].map((name) => join(stateDir, name));
  if (found?.format === STATE_FORMAT && !isBegun && !leftovers.some((path) => existsSync(path)))
    return undefined;
  return whileLocked(stateDir, async () => {
    if (existsSync(join(stateDir, RESTORING))) await finishRestore(deps);
    for (const path of leftovers) await steps.remove(path);
    const format = readFormat(stateDir)?.format ?? STATE_FORMAT;
    return format < STATE_FORMAT ? takeOver(deps, format) : undefined;
  });
}

/** Nobody else takes over or goes back meanwhile. @throws CONTROL_STATE_LOCKED */
export async function whileLocked<T>(stateDir: string, task: () => Promise<T>): Promise<T> {
  const path = join(stateDir, 'take-over.lock');
  const lock = await onFile(path, () => FileLock.acquire(path)).catch((cause: unknown) => {
    if (!(cause instanceof KeyStoreError)) throw cause;
    throw new StateError('CONTROL_STATE_LOCKED', cause.message, { cause });
  });
  try {
    return await task();
  } finally {
    await lock.release();
  }
}

async function takeOver(deps: TakeOverDeps, from: number): Promise<StateFormat> {
  const at = new Date(deps.clock.now()).toISOString();
  // Opened first: it is whole, nobody else has it, and its log of writes is folded into its tables.
  const db = await deps.openDatabase();
  let mark: StateMark;
  try {
    mark = await deps.markOf(db);
  } finally {
    await db.close();
  }
  await makeFormer(deps, { format: from, at, mark });
  const format = { format: STATE_FORMAT, takenOver: { from, at } };
  await writeFormat(deps, format);
  return format;
}

function writeFormat({ stateDir, steps }: TakeOverDeps, format: StateFormat): Promise<void> {
  return steps.write(join(stateDir, FORMAT_FILE), formatFile(format));
}
