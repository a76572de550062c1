/**
 * The last event that was made here, in a file of the audit log's folder: apart from the event store, so that an older
 * copy of that, put back, is noticed before anything is signed on top of it.
 *
 * Two writes per own event: that it begins, before it can be in the log, and that it is in the log. An event that began and is
 * not in the log is a crash; one that was in the log and is not any more is a store that went back.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import type { KelStore } from '#kel/store/kel-store';
import type { LogFiles } from '#src/audit/log-files';
import { utf8 } from '#src/bytes';
import type { StateTable } from '#src/store/state-table';

/** The part of `LogFiles` that this needs. */
export type HeadFiles = Pick<LogFiles, 'read' | 'replace'>;

export interface OwnHeadDeps {
  readonly files: HeadFiles;
  readonly kel: Pick<KelStore, 'holds'>;
  readonly table: StateTable;
}

interface Head extends EventReference {
  readonly aid: Aid;
  readonly after: EventReference;
  /** The event has been in the log. */
  readonly isFinal: boolean;
}

const FILE = 'own-event';
/** In the table: the file is kept, so one that is not there was taken away. */
const KEPT = 'head-kept';
/** In the table: why own events wait for somebody's word, other than by the file. */
const DOUBT = 'doubt';
const MAX_FILE_BYTES = 1_024;

/** Of an identity that keeps no file yet: its log as it is. */
export async function keepHead(deps: OwnHeadDeps, state: EventReference & { readonly aid: Aid }) {
  if (deps.table.get<boolean>(KEPT) === true) return;
  const held = await read(deps.files);
  // Another's file, or none: an own one from before says more than this store.
  if (held === undefined || held === 'unreadable' || held.aid !== state.aid)
    await write(deps.files, { ...finalAt(state), aid: state.aid });
  await deps.table.put({ [KEPT]: true });
}

/** Before `event` can be in the log. @param after the event that it follows */
export async function noteBegun(
  { files }: Pick<OwnHeadDeps, 'files'>,
  aid: Aid,
  { sn, said }: EventReference,
  after: EventReference,
): Promise<void> {
  await write(files, {
    ...{ aid, sn, said, isFinal: false },
    after: { sn: after.sn, said: after.said },
  });
}

/** After own events may have become final. */
export async function noteFinal({ files, kel }: OwnHeadDeps): Promise<void> {
  const head = await read(files);
  if (head === undefined || head === 'unreadable' || head.isFinal) return;
  if (kel.holds(head.aid, head.sn, head.said)) await write(files, { ...head, isFinal: true });
}

/** The event that was made here last, as the file says it; undefined without one that can be read. */
export async function lastMade({
  files,
}: Pick<OwnHeadDeps, 'files'>): Promise<(EventReference & { after: EventReference }) | undefined> {
  const head = await read(files);
  return head === 'unreadable' ? undefined : head;
}

/** Why the event store is not the newest, in words; undefined when nothing says so. @param state end of the own log */
export async function stepBack(
  { files, kel, table }: OwnHeadDeps,
  { aid, sn }: EventReference & { readonly aid: Aid },
): Promise<string | undefined> {
  const head = await read(files);
  if (head === 'unreadable') return 'the note of the last own event (audit/own-event) is damaged';
  if (head === undefined)
    return table.get<boolean>(KEPT) === true
      ? 'the note of the last own event (audit/own-event) is gone: the folder of the audit log is older than the event store'
      : undefined;
  if (head.aid !== aid) return `audit/own-event is of ${head.aid}, the event store of ${aid}`;
  const newest = head.isFinal ? head : head.after;
  if (!kel.holds(aid, head.sn, head.said) && !kel.holds(aid, newest.sn, newest.said))
    return `the event store ends at event ${sn}; event ${newest.sn} ${newest.said} was made here and is not in it`;
  return table.get<string>(DOUBT);
}

/** Own events wait for a member's or the operator's word. @param why in words */
export async function doubt({ table }: Pick<OwnHeadDeps, 'table'>, why: string): Promise<void> {
  await table.put({ [DOUBT]: why });
}

/** A member was asked and holds nothing later; what the file says stays. */
export async function clearDoubt({ table }: Pick<OwnHeadDeps, 'table'>): Promise<void> {
  if (table.get<string>(DOUBT) !== undefined) await table.put({ [DOUBT]: undefined });
}

/** The operator's word: the log as it is here is the newest. */
export async function confirmHead(
  deps: OwnHeadDeps,
  state: EventReference & { readonly aid: Aid },
): Promise<void> {
  await write(deps.files, { ...finalAt(state), aid: state.aid });
  await deps.table.put({ [KEPT]: true, [DOUBT]: undefined });
}

function finalAt({ sn, said }: EventReference): Omit<Head, 'aid'> {
  return { sn, said, after: { sn, said }, isFinal: true };
}

async function write(files: HeadFiles, head: Head): Promise<void> {
  await files.replace(FILE, utf8(JSON.stringify(head)));
}

async function read(files: HeadFiles): Promise<Head | 'unreadable' | undefined> {
  const bytes = await files.read(FILE);
  if (bytes === undefined) return undefined;
  if (bytes.length > MAX_FILE_BYTES) return 'unreadable';
  try {
    const head = JSON.parse(Buffer.from(bytes).toString()) as Head;
    const isWhole = isReference(head) && isReference(head.after) && typeof head.aid === 'string';
    return isWhole && typeof head.isFinal === 'boolean' ? head : 'unreadable';
  } catch {
    return 'unreadable';
  }
}

function isReference(value: unknown): value is EventReference {
  const { sn, said } = (value ?? {}) as { readonly sn?: unknown; readonly said?: Said };
  return Number.isSafeInteger(sn) && typeof said === 'string';
}
