/**
 * Events of the own log that this state directory did not make. A thief of the current key has signed them, or this
 * organisation itself, after the backup from which the directory was restored: nothing in them tells which.
 *
 * What is made is written down before it enters the log, so that a crash makes no own event look foreign.
 */
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '#kel/key-state/key-state';
import type { KelStore } from '#kel/store/kel-store';
import type { StateTable } from '#src/store/state-table';

/** The last event that was made here, and the one that the log ended with then. */
interface MadeEvent extends EventReference {
  readonly after: EventReference;
}

const MADE = 'made';

/** From now on `event` is an own one. @param after the event that it follows */
export async function rememberMade(
  table: StateTable,
  { sn, said }: EventReference,
  after: EventReference,
): Promise<void> {
  const made: MadeEvent = { sn, said, after: { sn: after.sn, said: after.said } };
  await table.put({ [MADE]: made });
}

/** A log that was there before anything was written down is an own one. */
export async function rememberFirst(table: StateTable, state: KeyState): Promise<void> {
  if (table.get<MadeEvent>(MADE) === undefined) await rememberMade(table, state, state);
}

export function hasForeignEvents(table: StateTable, state: KeyState): boolean {
  const made = table.get<MadeEvent>(MADE);
  return made !== undefined && state.said !== made.said && state.said !== made.after.said;
}

/** The newest event of the log that was made here; undefined when none of those that are remembered stands in it. */
export async function lastOwnEvent(
  { table, kel }: { readonly table: StateTable; readonly kel: KelStore },
  state: KeyState,
): Promise<EventReference | undefined> {
  const made = table.get<MadeEvent>(MADE);
  if (made === undefined || !hasForeignEvents(table, state)) return state;
  for (const { sn, said } of [made, made.after])
    if ((await saidAt(kel, state.aid, sn)) === said) return { sn, said };
  return undefined;
}

async function saidAt(kel: KelStore, aid: Aid, sn: number): Promise<Said | undefined> {
  const [item] = parseStream(await kel.export(aid, sn, 1));
  return item?.type === 'message' ? parseKeyEvent(item.body).said : undefined;
}
