import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { encodeBody, parseBody } from '#kel/cesr/body';
import { parseStream } from '#kel/cesr/stream';
import { KelError } from '#kel/errors';
import { buildQuery, parseQuery, type QueryContent } from '#kel/query/query';
import { parseReply } from '#kel/reply/reply';
import { type Section, sectionsOf } from '#kel/reply/sections';
import { concatBytes, equalBytes } from '#src/bytes';
import { Organisation, witnessKey } from '../support/kit/key-log.ts';
import { at, noticeOf, openReplies, replyBy, replyOfKey } from '../support/kit/replies.ts';

const endpoint = witnessKey('endpoint');
const org = new Organisation('controller');
org.incept();
org.rotate();

/** Few places and moments, so that replies meet: also with one date-time and different content. */
const moments = fc.constantFrom(at(1), at(2), at(3));
const replies = fc.oneof(
  fc
    .record({ url: fc.constantFrom('', 'http://a/', 'http://b/'), dateTime: moments })
    .map(({ url, dateTime }) =>
      replyOfKey(
        endpoint,
        { type: 'location', eid: endpoint.aid, scheme: 'http', url },
        { dateTime },
      ),
    ),
  fc
    .record({
      eid: fc.constantFrom('x', 'y'),
      isAllowed: fc.boolean(),
      step: fc.constantFrom(0, 1),
      dateTime: moments,
      kind: fc.constantFrom('JSON' as const, 'CBOR' as const),
    })
    .map(({ eid, isAllowed, ...options }) => {
      const role = { type: 'end-role', cid: org.aid, role: 'agent', isAllowed } as const;
      return replyBy(org, { ...role, eid: witnessKey(eid).aid }, options);
    }),
  moments.map((dateTime) =>
    replyBy(org, { type: 'key-state', source: org.aid, notice: noticeOf(org) }, { dateTime }),
  ),
);

async function endOf(messages: readonly Uint8Array[]) {
  const { kel, replies: store, reopen } = await openReplies({ maxPerSigner: 2 });
  for (const message of messages) {
    const isLog = equalBytes(message, org.stream);
    await (isLog ? kel : store).process(message);
    if (isLog) await store.release(org.aid);
  }
  const again = await reopen();
  const end = [store, again].map((one) => ({
    locations: one.locations(endpoint.aid),
    roles: one.endRoles(org.aid),
    keyState: one.keyState(org.aid),
    size: one.size,
  }));
  assert.deepEqual(end[0], end[1]);
  return end[0];
}

describe('replies, any', () => {
  it('end in one state in any order of arrival, the log of the signer among them', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc
          .array(replies, { maxLength: 12 })
          .chain((some) =>
            fc.tuple(
              fc.shuffledSubarray([...some, org.stream], { minLength: some.length + 1 }),
              fc.shuffledSubarray([...some, org.stream], { minLength: some.length + 1 }),
            ),
          ),
        async ([first, second]) => assert.deepEqual(await endOf(first), await endOf(second)),
      ),
      { numRuns: 60 },
    );
  });

  it('that parse encode to the same bytes; changed ones are refused with a code', () => {
    fc.assert(
      fc.property(replies, fc.nat(), fc.integer({ min: 1, max: 255 }), (message, at, change) => {
        const [item] = parseStream(message);
        if (item?.type !== 'message') throw new Error('a reply that is no message');
        const { kind, fields } = parseBody(item.body, 'KERI');
        assert.ok(equalBytes(encodeBody('KERI', kind, fields), item.body));
        parseReply(item.body);
        const changed = new Uint8Array(item.body);
        const place = at % changed.length;
        changed[place] = (changed[place] as number) ^ change;
        assert.throws(() => parseReply(changed), KelError);
      }),
    );
  });
});

const contents: fc.Arbitrary<QueryContent> = fc.oneof(
  fc.record(
    {
      route: fc.constant('logs' as const),
      aid: fc.constantFrom(org.aid, endpoint.aid),
      source: fc.constant(endpoint.aid),
      from: fc.option(fc.maxSafeNat(), { nil: undefined }),
      anchor: fc.option(
        fc.constant({ aid: org.aid as string, sn: '0', said: org.state.said as string }),
        {
          nil: undefined,
        },
      ),
    },
    { noNullPrototype: true },
  ),
  fc.record(
    {
      route: fc.constant('ksn' as const),
      aid: fc.constantFrom(org.aid, endpoint.aid),
      source: fc.constant(org.aid),
    },
    { noNullPrototype: true },
  ),
);

describe('queries, any', () => {
  it('read back as they were built; changed ones are refused with a code', () => {
    const kinds = fc.constantFrom('JSON' as const, 'CBOR' as const);
    fc.assert(
      fc.property(contents, kinds, fc.nat(), (content, kind, place) => {
        const body = buildQuery(kind, at(0), content);
        assert.deepEqual(parseQuery(body).content, content);
        const changed = new Uint8Array(body);
        changed[place % changed.length] = (changed[place % changed.length] as number) ^ 1;
        assert.throws(() => parseQuery(changed), KelError);
      }),
    );
  });
});

describe('sections of a stream, any', () => {
  it('are the stream, each message in that of its kind', () => {
    const query = buildQuery('CBOR', at(0), {
      route: 'ksn',
      aid: org.aid,
      source: org.aid,
    });
    const pieces = fc.oneof(
      replies.map((bytes) => ({ kind: 'replies' as const, bytes })),
      fc.constant({ kind: 'queries' as const, bytes: query }),
      fc.constant({ kind: 'events' as const, bytes: org.stream }),
    );
    fc.assert(
      fc.property(fc.array(pieces, { maxLength: 8 }), fc.nat({ max: 2_000 }), (parts, size) => {
        const stream = concatBytes(...parts.map(({ bytes }) => bytes));
        const sections = [...sectionsOf(stream, size)];
        assert.ok(equalBytes(concatBytes(...sections.map(({ bytes }) => bytes)), stream));
        const of = (kind: Section['kind'], list: readonly Pick<Section, 'kind' | 'bytes'>[]) =>
          Buffer.concat(list.filter((one) => one.kind === kind).map(({ bytes }) => bytes));
        for (const kind of ['events', 'replies', 'queries'] as const)
          assert.deepEqual(of(kind, sections), of(kind, parts));
      }),
    );
  });
});
