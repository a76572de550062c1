/**
 * The first-seen log of one AID: every event that was accepted, in that order, the ones included that a
 * recovery has superseded since. KERIpy's replay (`kli export`) has this order and the `-E` couples.
 */
import type { KeyEvent, KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import { concatBytes } from '#src/bytes';
import { formatDateTime } from '#src/clock';
import type { DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
import { decodeMessage, encodeMessage } from '../message/stored-message.ts';
import { decodeChain, decodeFirstSeen } from './accepted-logs.ts';
import { chainKey, eventKey, FIRST_SEEN } from './keys.ts';

export interface FirstSeenEntry {
  /** Place in the first-seen log of this AID, from 0. */
  readonly ordinal: number;
  readonly sn: number;
  readonly said: Said;
  readonly type: KeyEvent['type'];
  /** A recovery rotation took its place. */
  readonly isSuperseded: boolean;
  /** When it was accepted here; milliseconds since the Unix epoch. */
  readonly at: number;
}

interface Entry extends FirstSeenEntry {
  readonly message: KeyEventMessage;
}

/** @param aid its whole log, superseded events included */
export async function firstSeenLog(
  table: DurableTable,
  aid: Aid,
): Promise<readonly FirstSeenEntry[]> {
  const entries: FirstSeenEntry[] = [];
  for await (const { message: _message, ...entry } of eventsOf(table, aid)) entries.push(entry);
  return entries;
}

/** The replay stream: events in first-seen order, each with its ordinal and time. */
export async function replayStream(table: DurableTable, aid: Aid): Promise<Uint8Array> {
  const messages: Uint8Array[] = [];
  for await (const { message, ordinal, at } of eventsOf(table, aid)) {
    const firstSeen = [{ ordinal, dateTime: formatDateTime(at) }];
    messages.push(encodeMessage(message.bytes, message.attachments, firstSeen));
  }
  return concatBytes(...messages);
}

async function* eventsOf(table: DurableTable, aid: Aid): AsyncGenerator<Entry> {
  let ordinal = 0;
  for await (const [, value] of table.entries(FIRST_SEEN)) {
    const seen = decodeFirstSeen(value);
    if (seen.aid !== aid) continue;
    const { sn, said, at } = seen;
    const message = readEvent(table, aid, sn, said);
    const standing = table.get(chainKey(aid, sn));
    const isSuperseded = standing === undefined || decodeChain(standing).said !== said;
    yield { ordinal, sn, said, type: message.event.type, isSuperseded, at, message };
    ordinal += 1;
  }
}

function readEvent(table: DurableTable, aid: Aid, sn: number, said: Said): KeyEventMessage {
  const stored = table.get(eventKey(aid, sn, said));
  const message = stored === undefined ? undefined : decodeMessage(stored);
  if (message !== undefined && 'event' in message) return message;
  throw new StoreError(
    'STORE_CORRUPT',
    `log of ${aid}: expected event ${said} at ${sn}, got nothing`,
    { fields: { aid, sn } },
  );
}
