/** Asking a member for a log or a key state, and what the replies that are held say. */
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import type { Aid } from '#kel/identifiers';
import type { KeyStateNotice } from '#kel/reply/key-state-notice';
import { parseReply } from '#kel/reply/reply';
import { QueryError } from '../mesh/query/errors.ts';
import type { Answered } from '../mesh/query/query-client.ts';
import { aid, flag, optional, whole } from './arguments.ts';
import { verbsOf } from './verb.ts';

const { needsAgent, needsState } = verbsOf({ organisation: ['replies'], agent: ['queries'] });

export const queryVerbs = {
  'id.query': needsAgent({
    args: { aid, from: optional(whole(0, Number.MAX_SAFE_INTEGER)), ksn: flag },
    async run({ agent: { queries }, organisation }, { aid: about, from, ksn }) {
      const schema = 'kelmesh.id-query/1';
      if (!ksn) {
        const answered = await queries.ask({ route: 'logs', aid: about, from });
        return { schema, aid: about, route: 'logs', ...answerJson(answered) };
      }
      const answered = await queries.ask({ route: 'ksn', aid: about });
      const notice = noticeIn(answered, about);
      const [outcome] = await organisation.replies.process(answered.stream);
      if (outcome === undefined || outcome.verdict === 'refused' || outcome.verdict === 'waiting')
        throw wrongAnswer(answered, `${outcome?.code}, ${outcome?.reason}`);
      return {
        schema,
        aid: about,
        route: 'ksn',
        ...answerJson(answered),
        keyState: noticeJson(notice),
      };
    },
  }),
  'id.replies': needsState({
    args: { aid },
    reads: true,
    async run({ organisation: { replies } }, { aid: about }) {
      const held = replies.keyState(about);
      return {
        schema: 'kelmesh.id-replies/1',
        aid: about,
        locations: replies.locations(about).map(({ scheme, url }) => ({ scheme, url })),
        roles: replies.endRoles(about).map(({ role, eid }) => ({
          role,
          eid,
          locations: replies.locations(eid).map(({ url }) => url),
        })),
        keyState: held === undefined ? null : { source: held.source, ...noticeJson(held.notice) },
      };
    },
  }),
};

/** What the member says about an AID, not verified. @throws QUERY_BAD_MESSAGE */
function noticeIn(answered: Answered, about: Aid): KeyStateNotice {
  const [item, ...more] = parseStream(answered.stream);
  if (item?.type === 'message' && more.length === 0) {
    try {
      const { content } = parseReply(item.body);
      if (
        content.type === 'key-state' &&
        content.source === answered.member &&
        content.notice.state.aid === about
      )
        return content.notice;
    } catch (error) {
      if (!(error instanceof KelError)) throw error;
      throw wrongAnswer(answered, error.message);
    }
  }
  throw wrongAnswer(answered, `it is not one key state notice about ${about}`);
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
  };
}
