/** Checks of a store against itself: quickly when it is opened, wholly on request. */
import { isDeepStrictEqual } from 'node:util';
import type { KeyEventMessage } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';
import type { VerifySignature } from '#kel/state/key-signatures';
import { equalBytes } from '#src/bytes';
import type { DurableTable } from '#src/store/durable-table';
import { StoreError } from '#src/store/errors';
import { decodeMessage } from '../message/stored-message.ts';
import {
  AcceptedLogs,
  decodeFirstSeen,
  decodeHead,
  type FirstSeenEvent,
  type Head,
} from './accepted-logs.ts';
import { DERIVED, eventKey, FIRST_SEEN, firstSeenKey, HEAD, headKey } from './keys.ts';

export interface ReplayResult {
  readonly aids: number;
  readonly events: number;
}

/**
 * Restores the heads into `logs` and checks them: the first-seen log has no gap and ends, for each AID, with
 * the event of its head, and that event gives the state of its head once more.
 * @throws STORE_CORRUPT
 */
export async function loadLogs(table: DurableTable, logs: AcceptedLogs): Promise<void> {
  const heads = new Map<Aid, Head>();
  for await (const [key, value] of table.entries(HEAD)) {
    const head = decodeHead(value);
    expect(key, headKey(head.state.aid), `entry ${key}`);
    heads.set(head.state.aid, head);
  }
  const last = new Map<Aid, FirstSeenEvent>();
  const counts = new Map<Aid, number>();
  let length = 0;
  for await (const [key, value] of table.entries(FIRST_SEEN)) {
    expect(key, firstSeenKey(length), 'first-seen log');
    const event = decodeFirstSeen(value);
    last.set(event.aid, event);
    counts.set(event.aid, (counts.get(event.aid) ?? 0) + 1);
    length += 1;
  }
  expect(heads.size, counts.size, 'number of logs with a head');
  logs.restore(heads.values(), length);
  for (const { state, events } of heads.values()) {
    const { aid, sn, said } = state;
    expect(counts.get(aid), events, `first-seen log of ${aid}: number of events`);
    expect(last.get(aid)?.said, said, `first-seen log of ${aid}: last event`);
    expect(logs.saidAt(aid, sn), said, `log of ${aid}: event at ${sn}`);
    const decision = logs.reevaluate(readEvent(table, aid, sn, said));
    // The event of the delegator may have been superseded since; own signatures are checked before it is.
    if (decision.kind === 'escrow' && decision.code === 'KEL_AWAITS_DELEGATOR') continue;
    const isSame = decision.kind === 'accept' && isDeepStrictEqual(decision.state, state);
    expect(
      isSame ? 'the state of the head' : verdictOf(decision),
      'the state of the head',
      `log of ${aid}: event ${sn}`,
    );
  }
}

/**
 * Evaluates every accepted event again in the order of acceptance, from nothing, and compares everything
 * that follows from them.
 * @throws STORE_CORRUPT
 */
export async function replayLogs(
  table: DurableTable,
  verifySignature: VerifySignature,
): Promise<ReplayResult> {
  const copy = new ReplayTable(table);
  const logs = new AcceptedLogs(copy, verifySignature);
  let events = 0;
  for await (const [key, value] of table.entries(FIRST_SEEN)) {
    expect(key, firstSeenKey(events), 'first-seen log');
    const { aid, sn, said, at } = decodeFirstSeen(value);
    const message = readEvent(table, aid, sn, said);
    const decision = logs.evaluate(message);
    if (decision.kind !== 'accept') {
      throw corrupt(`log of ${aid}, event ${sn}`, 'acceptance', verdictOf(decision));
    }
    const stored = logs.apply(message, decision, at);
    if (!equalBytes(stored, table.get(eventKey(aid, sn, said)) ?? new Uint8Array(0))) {
      throw corrupt(`log of ${aid}, event ${sn}`, 'the message that evaluation gives', 'another');
    }
    events += 1;
  }
  logs.putHeads();
  logs.settle();
  await compareDerived(table, copy);
  return { aids: logs.aids().length, events };
}

async function compareDerived(table: DurableTable, copy: ReplayTable): Promise<void> {
  const left = new Set(copy.entries.keys());
  for (const prefix of DERIVED) {
    for await (const [key, value] of table.entries(prefix)) {
      const replayed = copy.entries.get(key);
      if (replayed === undefined) throw corrupt(`entry ${key}`, 'nothing, after replay', 'a value');
      if (!equalBytes(replayed, value))
        throw corrupt(`entry ${key}`, 'the value of the replay', 'another');
      left.delete(key);
    }
  }
  const [missing] = left;
  if (missing !== undefined) throw corrupt(`entry ${missing}`, 'a value, after replay', 'nothing');
}

/** What follows from the events, in memory; the events themselves stay on disk. */
class ReplayTable {
  readonly entries = new Map<string, Uint8Array>();
  readonly #events: DurableTable;

  constructor(events: DurableTable) {
    this.#events = events;
  }

  getPending(key: string): Uint8Array | undefined {
    return this.entries.get(key) ?? (isDerived(key) ? undefined : this.#events.get(key));
  }

  put(key: string, value: Uint8Array): void {
    if (isDerived(key)) this.entries.set(key, value);
  }

  delete(key: string): void {
    this.entries.delete(key);
  }
}

function isDerived(key: string): boolean {
  return DERIVED.some((prefix) => key.startsWith(prefix));
}

function readEvent(
  table: DurableTable,
  aid: Aid,
  sn: number,
  said: FirstSeenEvent['said'],
): KeyEventMessage {
  const stored = table.get(eventKey(aid, sn, said));
  if (stored === undefined) throw corrupt(`log of ${aid}, event ${sn}`, said, 'nothing');
  let message: ReturnType<typeof decodeMessage>;
  try {
    message = decodeMessage(stored);
  } catch (cause) {
    throw corrupt(`log of ${aid}, event ${sn}`, 'an event', (cause as Error).message, cause);
  }
  if (
    !('event' in message) ||
    message.event.said !== said ||
    message.event.aid !== aid ||
    message.event.sn !== sn
  ) {
    throw corrupt(`log of ${aid}, event ${sn}`, said, 'another event');
  }
  return message;
}

function verdictOf(decision: ReturnType<AcceptedLogs['evaluate']>): string {
  return 'code' in decision ? `${decision.code}, ${decision.reason}` : decision.kind;
}

function expect(got: unknown, expected: unknown, what: string): void {
  if (got !== expected) throw corrupt(what, String(expected), String(got));
}

function corrupt(what: string, expected: string, got: string, cause?: unknown): StoreError {
  const message = `${what}: expected ${expected}, got ${got}`;
  return new StoreError('STORE_CORRUPT', message, cause === undefined ? {} : { cause });
}
