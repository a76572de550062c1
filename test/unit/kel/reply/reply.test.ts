import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { encodeBody } from '#kel/cesr/body';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeWithSaid } from '#kel/cesr/said';
import { buildReply, parseReply, type ReplyContent } from '#kel/reply/reply';
import { Organisation, witnessKey } from '../../../support/kit/key-log.ts';
import { at, noticeOf } from '../../../support/kit/replies.ts';

const witness = witnessKey('endpoint');
const endpoint = witness.aid;
const org = new Organisation('controller');
org.incept({ keyCount: 2, witnesses: [endpoint], witnessThreshold: 1 }, { witnesses: [witness] });

const location: ReplyContent = {
  type: 'location',
  eid: endpoint,
  scheme: 'http',
  url: 'http://192.0.2.1:5642/x',
};
const contents: readonly ReplyContent[] = [
  location,
  { ...location, url: '' },
  { type: 'end-role', cid: org.aid, role: 'mailbox', eid: endpoint, isAllowed: true },
  { type: 'end-role', cid: org.aid, role: 'mailbox', eid: endpoint, isAllowed: false },
  { type: 'key-state', source: endpoint, notice: noticeOf(org) },
];

function rpy(fields: readonly (readonly [string, BodyValue])[]): Uint8Array {
  return encodeWithSaid('KERI', 'JSON', [['t', 'rpy'], ['d', ''], ...fields]).bytes;
}

function locationWith(changes: Readonly<Record<string, BodyValue>>): Uint8Array {
  const a = new Map(
    Object.entries({ eid: endpoint, scheme: 'http', url: 'http://h/', ...changes }),
  );
  return rpy([
    ['dt', at(0)],
    ['r', '/loc/scheme'],
    ['a', a as never],
  ]);
}

describe('reply messages', () => {
  it('read back as they were built, in every serialization', () => {
    for (const kind of ['JSON', 'CBOR'] as const)
      for (const content of contents) {
        const { bytes, reply } = buildReply(kind, at(1), content);
        assert.deepEqual(parseReply(bytes), reply);
        assert.deepEqual(reply.content, content);
        assert.equal(reply.dateTime, at(1));
      }
  });

  it('have no other fields, and those in one order', () => {
    const { bytes } = buildReply('JSON', at(0), location);
    const fields = JSON.parse(Buffer.from(bytes).toString()) as Record<string, BodyValue>;
    const a = new Map(Object.entries(fields['a'] as object)) as never;
    const cases: [string, BodyValue][][] = [
      [
        ['dt', at(0)],
        ['r', '/loc/scheme'],
        ['a', a],
        ['x', ''],
      ],
      [
        ['r', '/loc/scheme'],
        ['dt', at(0)],
        ['a', a],
      ],
      [
        ['dt', at(0)],
        ['r', '/loc/scheme'],
      ],
    ];
    for (const one of cases) assert.throws(() => parseReply(rpy(one)), { code: 'KEL_BAD_SCHEMA' });
    assert.throws(() => parseReply(locationWith({ more: '' })), { code: 'KEL_BAD_SCHEMA' });
    const other = encodeBody('KERI', 'JSON', Object.entries({ ...fields, t: 'qry', a }));
    assert.throws(() => parseReply(other), { code: 'KEL_BAD_SCHEMA' });
  });

  it('carry their own digest', () => {
    const bytes = Buffer.from(buildReply('JSON', at(0), location).bytes);
    bytes[bytes.length - 4] = 0x79;
    assert.throws(() => parseReply(bytes), { code: 'KEL_BAD_SAID' });
  });

  it('have bounded values of known kinds', () => {
    const bad: [Readonly<Record<string, BodyValue>>, string][] = [
      [{ scheme: 'ftp', url: 'ftp://h/' }, 'KEL_BAD_VALUE'],
      [{ url: 'https://h/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://user:word@h/' }, 'KEL_BAD_VALUE'],
      [{ url: `http://h/${'x'.repeat(2_048)}` }, 'KEL_BAD_VALUE'],
      [{ url: 'http://h/ x' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://h/\u001b[2J' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://' }, 'KEL_BAD_VALUE'],
      // Two readers would dial two hosts.
      [{ url: 'http://h\\@other/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http:///h/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://0x7f.1/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://127.1/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://h%2eother/' }, 'KEL_BAD_VALUE'],
      [{ url: 'http://[0:0:0:0:0:0:0:1]/' }, 'KEL_BAD_VALUE'],
      [{ url: 7 }, 'KEL_BAD_VALUE'],
      [{ eid: 'nobody' }, 'KEL_BAD_IDENTIFIER'],
    ];
    for (const [changes, code] of bad)
      assert.throws(() => parseReply(locationWith(changes)), { code }, JSON.stringify(changes));
    const role = { type: 'end-role', cid: org.aid, eid: endpoint, isAllowed: true } as const;
    assert.throws(() => buildReply('JSON', at(0), { ...role, role: 'king' as never }), {
      code: 'KEL_BAD_VALUE',
    });
    for (const dateTime of ['2026-01-01', '2026-13-01T00:00:00.000000+00:00'])
      assert.throws(() => buildReply('JSON', dateTime, location), { code: 'KEL_BAD_VALUE' });
    const a = new Map<string, BodyValue>();
    for (const route of ['/loc', '/end/role', '/ksn', '', '/tsn/x'])
      assert.throws(
        () =>
          parseReply(
            rpy([
              ['dt', at(0)],
              ['r', route],
              ['a', a],
            ]),
          ),
        { code: 'KEL_BAD_VALUE' },
        route,
      );
    assert.throws(
      () =>
        parseReply(
          rpy([
            ['dt', at(0)],
            ['r', '/ksn/x'],
            ['a', a],
          ]),
        ),
      { code: 'KEL_BAD_IDENTIFIER' },
    );
  });

  it('hold key states that are possible', () => {
    const notice = noticeOf(org);
    const { state } = notice;
    const bad = [
      { ...notice, prior: state.said },
      { ...notice, state: { ...state, sn: 1 } },
      { ...notice, state: { ...state, eventType: 'ixn' as const } },
      { ...notice, state: { ...state, witnessThreshold: 2 } },
      { ...notice, state: { ...state, signingThreshold: '3' } },
      { ...notice, state: { ...state, keys: [] } },
    ];
    for (const one of bad)
      assert.throws(
        () => buildReply('JSON', at(0), { type: 'key-state', source: endpoint, notice: one }),
        { code: /^KEL_BAD_/ },
      );
  });
});
