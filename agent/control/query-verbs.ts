/** Asking a member for a log or a key state, and what the replies that are held say. */
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import type { Aid } from '#kel/identifiers';
import { isAid } from '#kel/record/qualified';
import type { KeyStateNotice } from '#kel/reply/key-state-notice';
import { parseReply } from '#kel/reply/reply';
import { QueryError } from '../mesh/query/errors.ts';
import type { Answered } from '../mesh/query/query-client.ts';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';
import { running, text, type Verb, type VerbContext } from './verb.ts';

export const queryVerbs: Readonly<Record<string, Verb>> = {
  'id.query': async ({ agent, organisation, args }) => {
    const aid = namedAid(args);
    const { queries } = running(agent);
    if (args['ksn'] !== true) {
      const answered = await queries.ask({ route: 'logs', aid, from: fromOf(args) });
      return { schema: 'kelmesh.id-query/1', aid, route: 'logs', ...answerJson(answered) };
    }
    const answered = await queries.ask({ route: 'ksn', aid });
    const notice = noticeIn(answered, aid);
    const [outcome] = await organisation.replies.process(answered.stream);
    if (outcome === undefined || outcome.verdict === 'refused' || outcome.verdict === 'waiting')
      throw wrongAnswer(answered, `${outcome?.code}, ${outcome?.reason}`);
    return {
      schema: 'kelmesh.id-query/1',
      aid,
      route: 'ksn',
      ...answerJson(answered),
      keyState: noticeJson(notice),
    };
  },
  'id.replies': async ({ organisation: { replies }, args }) => {
    const aid = namedAid(args);
    const held = replies.keyState(aid);
    return {
      schema: 'kelmesh.id-replies/1',
      aid,
      locations: replies.locations(aid).map(({ scheme, url }) => ({ scheme, url })),
      roles: replies.endRoles(aid).map(({ role, eid }) => ({
        role,
        eid,
        locations: replies.locations(eid).map(({ url }) => url),
      })),
      keyState: held === undefined ? null : { source: held.source, ...noticeJson(held.notice) },
    };
  },
};

/** @throws CONTROL_BAD_REQUEST */
function namedAid(args: VerbContext['args']) {
  const aid = text(args, 'aid');
  if (isAid(aid)) return aid;
  throw new ControlError('CONTROL_BAD_REQUEST', `${aid.slice(0, 64)} is not an AID`);
}

/** @throws CONTROL_BAD_REQUEST */
function fromOf(args: VerbContext['args']): number | undefined {
  const from = args['from'];
  if (from === undefined) return undefined;
  if (typeof from === 'number' && Number.isSafeInteger(from) && from >= 0) return from;
  throw new ControlError('CONTROL_BAD_REQUEST', 'expected a sequence number from 0');
}

/** What the member says about `aid`, not verified. @throws QUERY_BAD_MESSAGE */
function noticeIn(answered: Answered, aid: Aid): KeyStateNotice {
  const [item, ...more] = parseStream(answered.stream);
  if (item?.type === 'message' && more.length === 0) {
    try {
      const { content } = parseReply(item.body);
      if (
        content.type === 'key-state' &&
        content.source === answered.member &&
        content.notice.state.aid === aid
      )
        return content.notice;
    } catch (error) {
      if (!(error instanceof KelError)) throw error;
      throw wrongAnswer(answered, error.message);
    }
  }
  throw wrongAnswer(answered, `it is not one key state notice about ${aid}`);
}

function wrongAnswer({ member }: Answered, why: string): QueryError {
  return new QueryError('QUERY_BAD_MESSAGE', `the answer of ${member} counts for nothing: ${why}`);
}

function answerJson({ member, stream }: Answered) {
  return { member, cesr: Buffer.from(stream).toString('base64') };
}

function noticeJson({ state, firstSeen, dateTime }: KeyStateNotice) {
  const { sn, said, eventType, keys, witnesses, delegator } = state;
  return {
    sn,
    said,
    type: eventType,
    keys: [...keys],
    witnesses: [...witnesses],
    delegator: delegator ?? null,
    seen: firstSeen,
    at: dateTime,
  } satisfies Json;
}
