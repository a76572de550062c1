/** Replies and queries with KERIpy: it takes ours, we take its. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { parseStream } from '#kel/cesr/stream';
import type { Aid } from '#kel/identifiers';
import { answerKeyState, answerLogs } from '#kel/query/answer';
import { buildQuery, encodeSignedQuery } from '#kel/query/query';
import { verifyQuery } from '#kel/query/signer';
import { buildReply, parseReply, type ReplyContent } from '#kel/reply/reply';
import { concatBytes } from '#src/bytes';
import { Organisation, sign, verifySignature, witnessKey } from '../../support/kit/key-log.ts';
import { at, openReplies, replyBy, replyOfKey } from '../../support/kit/replies.ts';
import { Keripy, keripyMissing } from '../../support/machines/keripy.ts';
import { skip } from '../../support/skip.ts';

const KINDS = ['JSON', 'CBOR'] as const;
const endpoint = witnessKey('endpoint');

describe('KERIpy, replies and queries', () => {
  before(async function () {
    this.timeout(300_000);
    const problem = await keripyMissing();
    if (problem !== undefined) skip(this, problem);
  });

  it('its replies stand here as it means them', async function () {
    this.timeout(60_000);
    await using keripy = new Keripy();
    for (const kind of KINDS)
      for (const seed of ['a', 'b', 'c']) {
        const said = await keripy.say({ seed, kind });
        const { kel, replies } = await openReplies();
        await kel.process(said.stream);
        const outcomes = await replies.process(concatBytes(...said.replies));
        assert.deepEqual(
          outcomes.map(({ verdict, code }) => code ?? verdict),
          said.replies.map(() => 'accepted'),
        );
        const [aid, eid] = [said.state.aid as Aid, said.endpoint as Aid];
        const url = 'http://127.0.0.1:5643/';
        assert.deepEqual(replies.locations(eid), [{ scheme: 'http', url }]);
        assert.equal(replies.locations(aid, 'tcp').length, 1);
        assert.deepEqual(replies.endRoles(aid), [{ role: 'mailbox', eid }]);
        const notice = replies.keyState(aid)?.notice;
        assert.deepEqual({ ...notice?.state, kind }, kel.state(aid));
        // Both build the same record but for when each has seen the event first.
        const ours = { ...(await answerKeyState(kel, aid, 0)), dateTime: notice?.dateTime };
        assert.deepEqual(ours, notice);
      }
  });

  it('its queries are read here, and answered so that it reads the answer', async function () {
    this.timeout(60_000);
    await using keripy = new Keripy();
    for (const kind of KINDS) {
      const said = await keripy.say({ seed: 'q', kind });
      const { kel } = await openReplies();
      await kel.process(said.stream);
      const asked = said.queries.map((query) => verifyQuery(query, { kel, verifySignature }));
      assert.deepEqual(
        asked.map(({ signer, query: { content } }) => [signer, content.route, content.aid]),
        ['logs', 'logs', 'ksn'].map((route) => [said.state.aid, route, said.state.aid]),
      );
      const [whole, part] = asked.map(({ query }) => query.content);
      assert.ok(whole?.route === 'logs' && part?.route === 'logs');
      assert.deepEqual([whole.from, part.from], [undefined, 1]);
      const [state] = await keripy.read([await answerLogs(kel, whole)]);
      assert.deepEqual(state, said.state);
      const first = [...parseStream(await kel.export(said.state.aid as Aid, 0, 1))][0];
      assert.ok(first?.type === 'message');
      const all = await answerLogs(kel, { ...part, from: 0 });
      const rest = await answerLogs(kel, part);
      assert.ok(rest.length > 0 && rest.length < all.length);
    }
  });

  it('it takes our replies, and the newest wins there as here', async function () {
    this.timeout(60_000);
    await using keripy = new Keripy();
    for (const kind of KINDS) {
      const org = new Organisation(`says ${kind}`);
      org.incept({ keyCount: 3, signingThreshold: ['1/2', '1/2', '1'], nextThreshold: '2', kind });
      org.rotate({ signingThreshold: '2', nextThreshold: '2', kind });
      const { kel, replies } = await openReplies();
      await kel.process(org.stream);
      const notice = await answerKeyState(kel, org.aid, 0);
      const role = { type: 'end-role', cid: org.aid, eid: endpoint.aid } as const;
      const place = (url: string): ReplyContent => {
        return { type: 'location', eid: endpoint.aid, scheme: 'https', url };
      };
      const messages = [
        replyOfKey(endpoint, place('https://127.0.0.1:1/'), { kind, dateTime: at(2) }),
        replyOfKey(endpoint, place('https://127.0.0.1:2/'), { kind, dateTime: at(1) }),
        replyBy(org, { ...role, role: 'agent', isAllowed: true }, { kind, dateTime: at(1) }),
        replyBy(
          org,
          { ...role, role: 'peer', isAllowed: false },
          { kind, step: 1, dateTime: at(1) },
        ),
        replyBy(
          org,
          { ...role, role: 'peer', isAllowed: true },
          { kind, step: 0, dateTime: at(9) },
        ),
        replyBy(org, { type: 'key-state', source: org.aid, notice }, { kind }),
      ];
      for (const message of messages) await replies.process(message);
      const heard = await keripy.hear([org.stream, ...messages]);
      assert.deepEqual(heard.locations, [[endpoint.aid, 'https', 'https://127.0.0.1:1/']]);
      const allowed = heard.roles.filter(([, , , isAllowed]) => isAllowed);
      assert.deepEqual(
        allowed.map(([, role, eid]) => ({ role, eid })),
        replies.endRoles(org.aid),
      );
      assert.equal(heard.roles.length, 2);
      assert.deepEqual(heard.notices, [[org.aid, org.aid]]);
      assert.equal(replies.keyState(org.aid)?.source, org.aid);
    }
  });

  it('it answers our queries, and we read its answers', async function () {
    this.timeout(60_000);
    await using keripy = new Keripy();
    for (const kind of KINDS) {
      const org = new Organisation(`asks ${kind}`);
      org.incept({ kind });
      org.anchor();
      const queries = (['logs', 'ksn'] as const).map((route) => {
        const asked = { aid: org.aid, source: endpoint.aid };
        const body = buildQuery(
          kind,
          at(1),
          route === 'logs' ? { ...asked, route, from: 1, anchor: undefined } : { ...asked, route },
        );
        return encodeSignedQuery(body, org.aid, sign(body, org.keys(0)));
      });
      const { answers } = await keripy.hear([org.stream, ...queries]);
      assert.deepEqual(
        answers.map(([kind, source]) => [kind, source]),
        [
          ['replay', endpoint.aid],
          ['reply', endpoint.aid],
        ],
      );
      const [log, notice] = answers.map(([, , hex]) => Buffer.from(hex, 'hex'));
      const { kel } = await openReplies();
      await kel.process(log as Buffer);
      assert.equal(kel.state(org.aid)?.said, org.state.said);
      const { content, dateTime } = parseReply(notice as Buffer);
      assert.ok(content.type === 'key-state' && content.source === endpoint.aid);
      const ours = await answerKeyState(kel, org.aid, 0);
      const { bytes } = buildReply('JSON', dateTime, {
        ...content,
        notice: { ...ours, dateTime: content.notice.dateTime },
      });
      // The same record gives the same message, to the byte.
      assert.deepEqual(Buffer.from(bytes), notice);
    }
  });
});
