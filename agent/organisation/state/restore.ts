/**
 * The way back: the backup of a takeover takes the place of what is there. It begins with one rename, of `former` to `restoring`;
 * from there on whoever opens the state directory finishes it. The database goes away first and comes last, so that an earlier version,
 * which knows nothing of this, finds the directory as it was or without an organisation, and never half of each.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Database } from '#src/store/durable-table';
import { StateError } from '../errors.ts';
import { FORMAT_FILE } from './format.ts';
import { changedSince, expectWhole, FORMER, type FormerState, readFormer } from './former-state.ts';
import { forgotten, type StateMark } from './mark.ts';
import { STATE_PARTS } from './parts.ts';
import type { StateSteps } from './steps.ts';

/** A way back that is under way. */
export const RESTORING = 'restoring';
/** What the backup has taken the place of, until it is removed. */
export const REPLACED = 'replaced';

export interface RestoreDeps {
  readonly stateDir: string;
  readonly steps: StateSteps;
  readonly openDatabase: () => Promise<Database>;
  readonly markOf: (db: Database) => Promise<StateMark>;
}

/**
 * To be called while locked (`take-over.ts`); the agent does not run.
 * @returns what is in place now. Throws CONTROL_STATE_NO_WAY_BACK, CONTROL_STATE_LOCKED, CONTROL_STATE_DAMAGED, FILE_…
 */
export async function restoreFormer(deps: RestoreDeps): Promise<FormerState> {
  const { stateDir, steps, openDatabase, markOf } = deps;
  const former = readFormer(stateDir);
  if (former === undefined)
    throw noWayBack(
      `${stateDir} has no backup of a takeover: the first own event has removed it, or there was no takeover`,
    );
  await expectWhole(stateDir, former);
  const db = await openDatabase();
  try {
    const lost = forgotten(former.mark, await markOf(db)) ?? (await newEvidence(stateDir, former));
    if (lost !== undefined) throw noWayBack(lost);
    // Held open until it is out of the way: no agent starts on it meanwhile.
    await steps.rename(join(stateDir, FORMER), join(stateDir, RESTORING));
    await steps.syncDirectory(stateDir);
    await setAside(deps);
  } finally {
    await db.close();
  }
  await finishRestore(deps);
  return former;
}

/** Why the audit log closes the way back, by its files alone; undefined: it does not. */
export async function newEvidence(
  stateDir: string,
  former: FormerState,
): Promise<string | undefined> {
  const changed = await changedSince(stateDir, former);
  return changed === undefined
    ? undefined
    : `${changed} has changed since: the audit log has new entries, and others may hold a checkpoint over them`;
}

/** Does what is left to do; doing it twice changes nothing. */
export async function finishRestore({
  stateDir,
  steps,
}: Pick<RestoreDeps, 'stateDir' | 'steps'>): Promise<void> {
  const at = (...names: readonly string[]) => join(stateDir, ...names);
  await setAside({ stateDir, steps });
  for (const part of STATE_PARTS.filter((name) => name !== 'store')) {
    if (!existsSync(at(RESTORING, part))) continue;
    if (existsSync(at(part))) await steps.rename(at(part), at(REPLACED, part));
    await steps.rename(at(RESTORING, part), at(part));
  }
  await steps.remove(at(FORMAT_FILE));
  await steps.syncDirectory(stateDir);
  if (existsSync(at(RESTORING, 'store'))) await steps.rename(at(RESTORING, 'store'), at('store'));
  await steps.syncDirectory(stateDir);
  // What is half removed must not look like a way back that is under way.
  await steps.rename(at(RESTORING), at(REPLACED, RESTORING));
  await steps.syncDirectory(stateDir);
  await steps.remove(at(REPLACED));
}

/** The database of now, as long as that of the backup has not come into its place. */
async function setAside({
  stateDir,
  steps,
}: Pick<RestoreDeps, 'stateDir' | 'steps'>): Promise<void> {
  const replaced = join(stateDir, REPLACED);
  await steps.makeDirectory(replaced);
  const store = join(stateDir, 'store');
  if (existsSync(join(stateDir, RESTORING, 'store')) && existsSync(store))
    await steps.rename(store, join(replaced, 'store'));
  await steps.syncDirectory(stateDir);
}

function noWayBack(why: string): StateError {
  return new StateError('CONTROL_STATE_NO_WAY_BACK', why);
}
