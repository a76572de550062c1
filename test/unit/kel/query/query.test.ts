import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { BodyValue } from '#kel/cesr/body-value';
import { encodeCounter } from '#kel/cesr/counter';
import { encodeMatter } from '#kel/cesr/matter';
import { encodeWithSaid } from '#kel/cesr/said';
import { eventSeal } from '#kel/event/seal';
import { answerKeyState, answerLogs } from '#kel/query/answer';
import { buildQuery, encodeSignedQuery, parseQuery, type QueryContent } from '#kel/query/query';
import { verifyQuery } from '#kel/query/signer';
import { LogVerifier } from '#kel/verify/log-verifier';
import { concatBytes, utf8 } from '#src/bytes';
import {
  ed25519,
  Organisation,
  sign,
  type TestKey,
  verifySignature,
  witnessKey,
} from '../../../support/kit/key-log.ts';
import { at } from '../../../support/kit/replies.ts';
import { approve, approvesAll, openStore } from '../../../support/kit/store-kit.ts';

const asked = witnessKey('asked');
const org = new Organisation('asking');
org.incept({ keyCount: 2, signingThreshold: '2', nextThreshold: '2' });
org.rotate({ signingThreshold: '2', nextThreshold: '2' });

function logs(extra: Partial<Extract<QueryContent, { route: 'logs' }>> = {}): QueryContent {
  const nothing = { from: undefined, anchor: undefined };
  return { route: 'logs', aid: org.aid, source: asked.aid, ...nothing, ...extra };
}

function qry(route: string, q: Readonly<Record<string, BodyValue>>): Uint8Array {
  return encodeWithSaid('KERI', 'JSON', [
    ['t', 'qry'],
    ['d', ''],
    ['dt', at(0)],
    ['r', route],
    ['rr', ''],
    ['q', new Map(Object.entries(q))],
  ]).bytes;
}

function coupled(body: Uint8Array, { key, seed }: TestKey): Uint8Array {
  const couple = key + encodeMatter('0B', ed25519.sign(body, seed));
  return concatBytes(body, utf8(encodeCounter('C', 1) + couple));
}

describe('query messages', () => {
  it('have parameters in any order, and no others', () => {
    const both = { i: org.aid, src: asked.aid };
    const { content } = parseQuery(qry('logs', { s: 'a', src: asked.aid, i: org.aid }));
    assert.deepEqual(content, logs({ from: 10 }));
    const bad: [string, Record<string, BodyValue>, string][] = [
      ['logs', { i: org.aid }, 'KEL_BAD_SCHEMA'],
      ['logs', { ...both, x: '' }, 'KEL_BAD_SCHEMA'],
      ['logs', { i: org.aid, s: '0', x: '' }, 'KEL_BAD_SCHEMA'],
      ['ksn', { ...both, s: '0' }, 'KEL_BAD_SCHEMA'],
      ['logs', { ...both, s: '01' }, 'KEL_BAD_VALUE'],
      ['logs', { ...both, a: 'x' }, 'KEL_BAD_VALUE'],
      ['mbx', both, 'KEL_BAD_VALUE'],
      ['ksn', { i: 'x', src: asked.aid }, 'KEL_BAD_IDENTIFIER'],
    ];
    for (const [route, q, code] of bad)
      assert.throws(() => parseQuery(qry(route, q)), { code }, JSON.stringify([route, q]));
  });

  it('count when the keys in force of the signer have signed them', async () => {
    const { store: kel } = await openStore();
    const body = buildQuery('JSON', at(0), logs());
    const whole = encodeSignedQuery(body, org.aid, sign(body, org.keys(1, 2)));
    assert.throws(() => verifyQuery(whole, { kel, verifySignature }), { code: 'KEL_AWAITS_PRIOR' });
    await kel.process(org.stream);
    assert.equal(verifyQuery(whole, { kel, verifySignature }).signer, org.aid);
    const witness = witnessKey('witness');
    const { signer } = verifyQuery(coupled(body, witness), { kel, verifySignature });
    assert.equal(signer, witness.aid);
    const bad = [
      body,
      encodeSignedQuery(body, org.aid, sign(body, org.keys(1, 1))),
      encodeSignedQuery(body, org.aid, sign(body, org.keys(0, 2))),
      coupled(body, { ...witness, seed: asked.seed }),
    ];
    for (const message of bad)
      assert.throws(() => verifyQuery(message, { kel, verifySignature }), {
        code: 'KEL_BAD_SIGNATURE',
      });
    assert.throws(() => verifyQuery(concatBytes(whole, whole), { kel, verifySignature }), {
      code: 'KEL_BAD_STREAM',
    });
  });
});

describe('answers', () => {
  it('hold the logs of delegators, and superseded events when the whole log is asked for', async () => {
    const delegator = new Organisation('delegator');
    delegator.incept();
    const node = new Organisation('node');
    const dip = node.incept({ delegator: delegator.aid }, { delegator: approvesAll });
    const recovered = delegator.fork(1);
    delegator.anchor();
    recovered.rotate();
    approve(recovered, dip);
    const { store: kel } = await openStore();
    await kel.process(concatBytes(delegator.stream, recovered.stream, node.stream));
    const query = logs({ aid: node.aid }) as Extract<QueryContent, { route: 'logs' }>;
    const verifier = new LogVerifier(verifySignature);
    verifier.feed(await answerLogs(kel, query));
    const { aids, waiting } = verifier.finish();
    assert.deepEqual(
      aids.map(({ aid }) => aid),
      [delegator.aid, node.aid],
    );
    assert.deepEqual(waiting, []);
    const whole = await answerLogs(kel, { ...query, aid: delegator.aid });
    assert.ok(Buffer.from(whole).includes(delegator.state.said));
    const standing = await answerLogs(kel, { ...query, aid: delegator.aid, from: 0 });
    assert.ok(!Buffer.from(standing).includes(delegator.steps[1]?.said as string));
  });

  it('are refused for what is not held', async () => {
    const { store: kel } = await openStore();
    await kel.process(org.stream);
    const query = logs() as Extract<QueryContent, { route: 'logs' }>;
    const anchor = { aid: org.aid as string, sn: '0', said: org.state.said as string };
    for (const more of [{ aid: asked.aid }, { from: 2 }, { anchor }])
      await assert.rejects(answerLogs(kel, { ...query, ...more }), { code: 'KEL_NOT_HELD' });
    await assert.rejects(answerKeyState(kel, asked.aid, 0), { code: 'KEL_NOT_HELD' });
  });

  it('give a log that holds the seal that is asked for', async () => {
    const sealing = new Organisation('sealing');
    sealing.incept();
    sealing.anchor([eventSeal(org.steps[1] as (typeof org.steps)[0])]);
    const { store: kel } = await openStore();
    await kel.process(sealing.stream);
    const anchor = { aid: org.aid as string, sn: '1', said: org.state.said as string };
    const query = logs({ aid: sealing.aid, anchor }) as Extract<QueryContent, { route: 'logs' }>;
    assert.ok((await answerLogs(kel, query)).length > 0);
    assert.ok((await answerLogs(kel, { ...query, from: 1 })).length > 0);
  });

  it('say of a key state what changed with its last establishment event', async () => {
    const [first, second] = [witnessKey('first'), witnessKey('second')];
    const witnessed = new Organisation('witnessed');
    witnessed.incept({ witnesses: [first.aid], witnessThreshold: 1 }, { witnesses: [first] });
    const change = { witnessCuts: [first.aid], witnessAdds: [second.aid], witnessThreshold: 1 };
    witnessed.rotate(change, { witnesses: [second] });
    const last = witnessed.anchor([], { witnesses: [second] });
    const { store: kel } = await openStore();
    await kel.process(witnessed.stream);
    const { kind: _kind, ...state } = last.state;
    const notice = await answerKeyState(kel, witnessed.aid, 0);
    assert.deepEqual(notice.state, state);
    assert.equal(notice.prior, witnessed.steps[1]?.said);
    assert.equal(notice.firstSeen, 2);
    assert.deepEqual([notice.witnessCuts, notice.witnessAdds], [[first.aid], [second.aid]]);
  });
});
