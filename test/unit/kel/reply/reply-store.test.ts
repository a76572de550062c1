import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { ReplyContent } from '#kel/reply/reply';
import { concatBytes } from '#src/bytes';
import { Organisation, testKey, witnessKey } from '../../../support/kit/key-log.ts';
import { at, noticeOf, openReplies, replyBy, replyOfKey } from '../../../support/kit/replies.ts';

const endpoint = witnessKey('endpoint');

function url(text: string): ReplyContent {
  return { type: 'location', eid: endpoint.aid, scheme: 'http', url: text };
}

function role(org: Organisation, isAllowed: boolean): ReplyContent {
  return { type: 'end-role', cid: org.aid, role: 'mailbox', eid: endpoint.aid, isAllowed };
}

function organisation(name = 'controller', keyCount = 1): Organisation {
  const org = new Organisation(name);
  org.incept({ keyCount, signingThreshold: keyCount.toString(16) });
  return org;
}

describe('replies of non-transferable signers', () => {
  it('stand until one with a later date-time comes; an empty url withdraws', async () => {
    const { replies } = await openReplies();
    const old = replyOfKey(endpoint, url('http://a/'), { dateTime: at(1) });
    const young = replyOfKey(endpoint, url('http://b/'), { dateTime: at(2) });
    const verdicts = [];
    for (const message of [old, young, old, young])
      verdicts.push((await replies.process(message))[0]?.verdict);
    assert.deepEqual(verdicts, ['accepted', 'accepted', 'duplicate', 'duplicate']);
    assert.deepEqual(replies.locations(endpoint.aid), [{ scheme: 'http', url: 'http://b/' }]);
    assert.deepEqual(replies.locations(endpoint.aid, 'tcp'), []);
    await replies.process(replyOfKey(endpoint, url(''), { dateTime: at(3) }));
    assert.deepEqual(replies.locations(endpoint.aid), []);
  });

  it('are compared as moments, whatever their offset', async () => {
    const { replies } = await openReplies();
    const noon = '2026-01-01T12:00:00.000000+00:00';
    const earlier = '2026-01-01T13:30:00.000000+02:00';
    await replies.process(replyOfKey(endpoint, url('http://a/'), { dateTime: noon }));
    const [outcome] = await replies.process(
      replyOfKey(endpoint, url('http://b/'), { dateTime: earlier }),
    );
    assert.equal(outcome?.verdict, 'duplicate');
    const later = '2026-01-01T12:00:00.000001+00:00';
    await replies.process(replyOfKey(endpoint, url('http://c/'), { dateTime: later }));
    assert.equal(replies.locations(endpoint.aid)[0]?.url, 'http://c/');
  });

  it('count by their own key alone', async () => {
    const { replies } = await openReplies();
    const stranger = { ...witnessKey('stranger') };
    const outcomes = [
      await replies.process(replyOfKey(stranger, url('http://a/'))),
      await replies.process(replyOfKey({ ...stranger, key: endpoint.key }, url('http://a/'))),
      await replies.process(replyOfKey(endpoint, url('http://a/')).subarray(0, -140)),
      await replies.process(replyOfKey(endpoint, url('http://a/')).subarray(0, -100)),
    ];
    assert.deepEqual(
      outcomes.map(([outcome]) => outcome?.code),
      ['KEL_WRONG_SIGNER', 'KEL_BAD_SIGNATURE', 'KEL_WRONG_SIGNER', 'KEL_TRUNCATED'],
    );
    assert.equal(replies.size, 0);
  });
});

describe('replies of transferable signers', () => {
  it('yield to the later establishment event, then to the later date-time', async () => {
    const org = organisation();
    org.rotate();
    const { kel, replies } = await openReplies();
    await kel.process(org.stream);
    const before = replyBy(org, role(org, true), { step: 0, dateTime: at(9) });
    const after = replyBy(org, role(org, false), { step: 1, dateTime: at(1) });
    assert.equal((await replies.process(before))[0]?.verdict, 'accepted');
    assert.deepEqual(replies.endRoles(org.aid), [{ role: 'mailbox', eid: endpoint.aid }]);
    assert.equal((await replies.process(after))[0]?.verdict, 'accepted');
    assert.deepEqual(replies.endRoles(org.aid), []);
    assert.equal((await replies.process(before))[0]?.verdict, 'duplicate');
    const again = replyBy(org, role(org, true), { step: 1, dateTime: at(2) });
    assert.equal((await replies.process(again))[0]?.verdict, 'accepted');
    assert.equal(replies.endRoles(org.aid).length, 1);
  });

  it('wait for the log of the signer, and stand when it has come', async () => {
    const org = organisation();
    const { kel, replies } = await openReplies();
    const [outcome] = await replies.process(replyBy(org, role(org, true)));
    assert.deepEqual([outcome?.verdict, outcome?.code], ['waiting', 'KEL_AWAITS_PRIOR']);
    await replies.release(org.aid);
    assert.equal(replies.size, 0);
    await kel.process(org.stream);
    await replies.release(org.aid);
    assert.equal(replies.endRoles(org.aid).length, 1);
  });

  it('collect signatures up to the threshold', async () => {
    const org = organisation('several', 2);
    const { kel, replies } = await openReplies();
    await kel.process(org.stream);
    const [first, second] = org.keys(0, 2) as [
      ReturnType<typeof testKey>,
      ReturnType<typeof testKey>,
    ];
    const half = replyBy(org, role(org, true), { signedBy: [first] });
    assert.equal((await replies.process(half))[0]?.code, 'KEL_AWAITS_SIGNATURES');
    assert.equal((await replies.process(half))[0]?.code, 'KEL_AWAITS_SIGNATURES');
    // In the second place of the group stands the second key.
    const other = replyBy(org, role(org, true), { signedBy: [testKey('noise'), second] });
    assert.equal((await replies.process(other))[0]?.verdict, 'accepted');
  });

  it('are refused for keys, events and AIDs that are not theirs', async () => {
    const org = organisation();
    org.anchor();
    const other = organisation('other');
    const { kel, replies } = await openReplies();
    await kel.process(concatBytes(org.stream, other.stream));
    const forged = replyBy(org, role(org, true), { signedBy: [testKey('thief')] });
    const foreign = replyBy(other, role(org, true));
    const fork = organisation('fork');
    Object.assign(fork, { steps: [{ ...fork.steps[0], state: { ...fork.state, aid: org.aid } }] });
    const codes = [];
    for (const message of [forged, foreign, replyBy(fork, role(org, true))])
      codes.push((await replies.process(message))[0]?.code);
    assert.deepEqual(codes, ['KEL_BAD_SIGNATURE', 'KEL_WRONG_SIGNER', 'KEL_WRONG_SIGNER']);
    assert.equal(replies.size, 0);
  });
});

describe('key state notices', () => {
  const witness = witnessKey('witness');

  function witnessed(): Organisation {
    const org = new Organisation('witnessed');
    org.incept({ witnesses: [witness.aid], witnessThreshold: 1 }, { witnesses: [witness] });
    org.anchor([], { witnesses: [witness] });
    return org;
  }

  it('count from the AID itself, from its witnesses and from watchers', async () => {
    const org = witnessed();
    const watcher = organisation('watcher');
    const stranger = organisation('stranger');
    const { kel, replies } = await openReplies({}, (aid) => aid === watcher.aid);
    const notice = noticeOf(org);
    const byWitness = replyOfKey(witness, { type: 'key-state', source: witness.aid, notice });
    const [early] = await replies.process(byWitness);
    assert.equal(early?.code, 'KEL_AWAITS_PRIOR');
    await kel.process(concatBytes(org.stream, watcher.stream, stranger.stream));
    await replies.release(org.aid);
    assert.equal(replies.keyState(org.aid)?.source, witness.aid);
    for (const [source, expected] of [
      [org, 'accepted'],
      [watcher, 'accepted'],
      [stranger, 'refused'],
    ] as const) {
      const content = { type: 'key-state', source: source.aid, notice } as const;
      assert.equal((await replies.process(replyBy(source, content)))[0]?.verdict, expected);
    }
    assert.deepEqual(replies.keyState(org.aid)?.notice, notice);
  });

  it('neither lag behind the log that is held nor contradict it; the furthest one is shown', async () => {
    const org = witnessed();
    const { kel, replies } = await openReplies();
    await kel.process(org.stream);
    const say = (from: Organisation, step: number, dateTime: string) =>
      replies.process(
        replyBy(
          org,
          { type: 'key-state', source: org.aid, notice: noticeOf(from, step) },
          { dateTime },
        ),
      );
    assert.equal((await say(org, 0, at(5)))[0]?.verdict, 'duplicate');
    const fork = org.fork(1);
    fork.anchor([new Map([['d', org.state.said]])], { witnesses: [witness] });
    assert.equal((await say(fork, 1, at(6)))[0]?.code, 'KEL_REPLY_CONTRADICTS');
    const ahead = org.fork(2);
    ahead.anchor([], { witnesses: [witness] });
    assert.equal((await say(ahead, 2, at(7)))[0]?.verdict, 'accepted');
    const byWitness = { type: 'key-state', source: witness.aid, notice: noticeOf(org) } as const;
    await replies.process(replyOfKey(witness, byWitness, { dateTime: at(8) }));
    assert.equal(replies.keyState(org.aid)?.notice.state.sn, 2);
  });
});

describe('reply store', () => {
  it('keeps the newest of each signer up to a bound, and nothing new above the other', async () => {
    const org = organisation();
    const { kel, replies } = await openReplies({ maxPerSigner: 2, maxReplies: 3 });
    await kel.process(org.stream);
    const roleOf = (name: string, seconds: number) =>
      replyBy(
        org,
        {
          type: 'end-role',
          cid: org.aid,
          role: 'peer',
          eid: witnessKey(name).aid,
          isAllowed: true,
        },
        { dateTime: at(seconds) },
      );
    const verdicts = [];
    for (const [name, seconds] of [
      ['a', 2],
      ['b', 3],
      ['c', 4],
      ['d', 1],
    ] as const)
      verdicts.push((await replies.process(roleOf(name, seconds)))[0]?.verdict);
    assert.deepEqual(verdicts, ['accepted', 'accepted', 'accepted', 'duplicate']);
    const held = new Set(replies.endRoles(org.aid).map(({ eid }) => eid));
    assert.deepEqual(held, new Set([witnessKey('b').aid, witnessKey('c').aid]));
    await replies.process(replyOfKey(endpoint, url('http://a/')));
    const tcp = { type: 'location', eid: endpoint.aid, scheme: 'tcp', url: 'tcp://a:1' } as const;
    const [full] = await replies.process(replyOfKey(endpoint, tcp));
    assert.equal(full?.code, 'KEL_LIMIT');
    assert.equal(replies.size, 3);
  });

  it('judges each message of a stream, and goes on behind a bad one', async () => {
    const org = organisation();
    const { replies } = await openReplies();
    const good = replyOfKey(endpoint, url('http://a/'));
    const stream = concatBytes(org.stream, good, Buffer.from('noise'), good);
    const outcomes = await replies.process(stream);
    assert.deepEqual(
      outcomes.map(({ verdict, code }) => code ?? verdict),
      ['KEL_BAD_SCHEMA', 'accepted', 'KEL_BAD_STREAM', 'duplicate'],
    );
    assert.equal(outcomes[1]?.offset, org.stream.length);
  });

  for (const kind of ['lost', 'persisted'] as const)
    it(`after a write that was ${kind} shows what is on disk, and goes on`, async () => {
      const { db, replies, reopen } = await openReplies();
      const first = replyOfKey(endpoint, url('http://a/'), { dateTime: at(1) });
      const second = replyOfKey(endpoint, url('http://b/'), { dateTime: at(2) });
      await replies.process(first);
      db.failAt(1, kind);
      await assert.rejects(replies.process(second), { code: 'STORE_WRITE_FAILED' });
      assert.equal(replies.locations(endpoint.aid)[0]?.url, 'http://a/');
      db.heal();
      const onDisk = kind === 'lost' ? 'http://a/' : 'http://b/';
      assert.equal((await reopen()).locations(endpoint.aid)[0]?.url, onDisk);
      const [outcome] = await replies.process(second);
      assert.equal(outcome?.verdict, kind === 'lost' ? 'accepted' : 'duplicate');
      assert.equal(replies.locations(endpoint.aid)[0]?.url, 'http://b/');
      assert.equal((await reopen()).size, 1);
    });

  it('does not open over an entry that is another reply', async () => {
    const { db, replies, reopen } = await openReplies();
    await replies.process(replyOfKey(endpoint, url('http://a/')));
    const entries = await db.iterator({ keyEncoding: 'utf8', valueEncoding: 'view' }).all();
    const [key] = entries.at(-1) as [string, unknown];
    await db.put(key, Buffer.from('gone') as never, { valueEncoding: 'view' } as never);
    await assert.rejects(reopen(), { code: 'STORE_CORRUPT' });
  });
});
