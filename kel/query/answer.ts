/** Answers to queries from the logs that are held. Who may ask is for the caller to say. */
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import { isRotation } from '#kel/event/key-event';
import { parseKeyEvent } from '#kel/event/parse';
import { type SealedEvent, sealedEvent } from '#kel/event/seal';
import type { Aid } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import type { KeyStateNotice } from '#kel/reply/key-state-notice';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { concatBytes } from '#src/bytes';
import { formatDateTime } from '#src/clock';
import type { QueryContent } from './query.ts';

type Logs = Pick<LevelKelStore, 'state' | 'export' | 'replayStream' | 'eventCount' | 'signedEvent'>;

/** Bytes of one answer; a longer log is asked for from where the answer ended. */
export const MAX_ANSWER_BYTES = 4 << 20;
/** Delegators of delegators that go with a whole log. */
const MAX_DELEGATORS = 4;

/**
 * The answer to `logs`. Without `s`: the logs of the delegators, then the whole log in first-seen order, superseded
 * events included, as KERIpy replays it. With `s`: the events that stand from there on, as many as fit.
 * @throws KEL_NOT_HELD; KEL_LIMIT for a whole log above {@link MAX_ANSWER_BYTES}
 */
export async function answerLogs(
  kel: Logs,
  { aid, from, anchor }: Extract<QueryContent, { route: 'logs' }>,
): Promise<Uint8Array> {
  const state = heldState(kel, aid);
  if (from !== undefined && from > state.sn)
    throw new KelError('KEL_NOT_HELD', `the log of ${aid} is held up to ${state.sn}, not ${from}`);
  const log = from === undefined ? await kel.replayStream(aid) : undefined;
  if (anchor !== undefined && !holds(log ?? (await kel.export(aid)), anchor))
    throw new KelError('KEL_NOT_HELD', `the log of ${aid} holds no seal of ${anchor.said}`);
  if (log === undefined) return kel.export(aid, from, MAX_ANSWER_BYTES);
  const answer = concatBytes(...(await delegatorsOf(kel, state)), log);
  if (answer.length > MAX_ANSWER_BYTES)
    throw new KelError(
      'KEL_LIMIT',
      `the log of ${aid} has ${answer.length} bytes, an answer ${MAX_ANSWER_BYTES}: ask for it in parts, from a sequence number each`,
    );
  return answer;
}

/** The answer to `ksn`, to be put into a reply and signed. @param now milliseconds since the Unix epoch  @throws KEL_NOT_HELD */
export async function answerKeyState(kel: Logs, aid: Aid, now: number): Promise<KeyStateNotice> {
  const { kind: _kind, ...state } = heldState(kel, aid);
  const firstSeen = kel.eventCount(aid) - 1;
  const event = await eventAt(kel, aid, state.sn);
  const established = await eventAt(kel, aid, state.establishment.sn);
  if (event.said !== state.said || established.said !== state.establishment.said)
    throw new KelError('KEL_NOT_HELD', `the log of ${aid} has changed while it was read`);
  return {
    state,
    prior: 'prior' in event ? event.prior : undefined,
    firstSeen,
    dateTime: formatDateTime(now),
    witnessCuts: isRotation(established) ? established.witnessCuts : [],
    witnessAdds: isRotation(established) ? established.witnessAdds : [],
  };
}

function heldState(kel: Logs, aid: Aid): KeyState {
  const state = kel.state(aid);
  if (state === undefined) throw new KelError('KEL_NOT_HELD', `no log of ${aid} is held`);
  return state;
}

async function eventAt(kel: Logs, aid: Aid, sn: number) {
  const message = await kel.signedEvent(aid, sn);
  const [item] = message === undefined ? [] : parseStream(message);
  if (item?.type !== 'message')
    throw new KelError('KEL_NOT_HELD', `no event ${sn} of ${aid} is held`);
  return parseKeyEvent(item.body);
}

/** Outermost first: a reader needs them before the log itself. */
async function delegatorsOf(kel: Logs, { aid, delegator }: KeyState): Promise<Uint8Array[]> {
  const logs: Uint8Array[] = [];
  const seen = new Set<Aid>([aid]);
  for (let at = delegator; at !== undefined && !seen.has(at) && seen.size <= MAX_DELEGATORS; ) {
    seen.add(at);
    logs.unshift(await kel.export(at, 0, MAX_ANSWER_BYTES));
    at = kel.state(at)?.delegator;
  }
  return logs;
}

function holds(log: Uint8Array, seal: SealedEvent): boolean {
  for (const item of parseStream(log)) {
    if (item.type !== 'message') continue;
    for (const anchor of parseKeyEvent(item.body).anchors) {
      const found = sealedEvent(anchor);
      if (found?.aid === seal.aid && found.sn === seal.sn && found.said === seal.said) return true;
    }
  }
  return false;
}
