import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { eventSeal } from '#kel/event/seal';
import type { Aid } from '#kel/identifiers';
import { seal } from '../../../support/kit/forks.ts';
import {
  Organisation,
  sign,
  type TestKey,
  testKey,
  witnessKey,
} from '../../../support/kit/key-log.ts';
import {
  approvesAll,
  openStore,
  receiptOf,
  signature,
  signedBy,
} from '../../../support/kit/store-kit.ts';

/** The one event that waits after `messages`. */
async function waitingAfter(...messages: readonly Uint8Array[]) {
  const { store, clock, reopen } = await openStore();
  await store.process(Buffer.concat(messages));
  const waiting = store.waiting();
  assert.equal(waiting.length, 1);
  const [entry] = waiting;
  assert.ok(entry !== undefined);
  assert.deepEqual((await reopen()).waiting(), waiting);
  return { store, clock, entry };
}

describe('what a waiting event says', () => {
  it('out of order: the gap, whose log, and 20 minutes', async () => {
    const org = new Organisation('one');
    org.incept();
    org.anchor();
    org.anchor();
    const last = org.anchor();
    const { entry, store, clock } = await waitingAfter(
      org.steps[0]?.message as Uint8Array,
      last.message,
    );
    assert.deepEqual(
      [entry.aid, entry.sn, entry.said, entry.code, entry.from],
      [org.aid, 3, last.said, 'KEL_AWAITS_PRIOR', [org.aid]],
    );
    assert.match(entry.waitsFor, /^events 1 to 2 of/);
    assert.match(entry.releasedBy, /up to event 2.*kelmesh id import/);
    assert.equal(entry.expires - entry.since, 1_200_000);
    clock.advance(1_200_001);
    assert.deepEqual(store.waiting(), []);
  });

  it('of an AID of which nothing is held', async () => {
    const org = new Organisation('one');
    org.incept();
    const { entry } = await waitingAfter(org.anchor().message);
    assert.match(entry.waitsFor, /of which nothing is held/);
  });

  it('behind a recovery that has not come: the prior event', async () => {
    const org = new Organisation('one');
    org.incept();
    const other = org.fork(1);
    org.anchor([seal('D')]);
    const rotation = other.rotate();
    const next = other.anchor();
    const { entry } = await waitingAfter(org.stream, next.message);
    assert.match(entry.waitsFor, new RegExp(`^event ${rotation.said} at 1`));
    assert.match(entry.releasedBy, /recovery rotation/);
  });

  it('a receipt: its event', async () => {
    const org = new Organisation('one');
    const event = org.incept();
    const receipt = receiptOf(event, [{ index: 0, key: witnessKey('w') }], 'couples');
    const { entry } = await waitingAfter(receipt);
    assert.deepEqual([entry.said, entry.from], [event.said, [event.aid]]);
    assert.match(entry.waitsFor, /which it receipts/);
  });

  it('partially signed: which keys have not signed', async () => {
    const org = new Organisation('one');
    const event = org.incept({ keyCount: 3, signingThreshold: ['1/2', '1/2', '1/2'] });
    const keys = org.keys(0, 3);
    const { entry } = await waitingAfter(
      signedBy(event, [signature(event, keys[1] as TestKey, 1)]),
    );
    assert.equal(entry.code, 'KEL_AWAITS_SIGNATURES');
    assert.deepEqual(entry.from, [keys[0]?.key, keys[2]?.key]);
    assert.match(entry.waitsFor, /1 of 3 keys signed.*\["1\/2","1\/2","1\/2"\]/);
    assert.equal(entry.expires - entry.since, 3_600_000);
  });

  it('pre-rotated keys missing: the digests of those that have not signed', async () => {
    const org = new Organisation('one');
    org.incept({ keyCount: 2, nextCount: 2, nextThreshold: '2' });
    const { nextDigests } = org.state;
    const event = org.rotate({ keyCount: 1, signingThreshold: '1', nextCount: 1 });
    const { entry } = await waitingAfter(org.steps[0]?.message as Uint8Array, event.message);
    assert.equal(entry.code, 'KEL_AWAITS_NEXT_KEYS');
    assert.deepEqual(entry.from, [nextDigests[1]]);
    assert.match(entry.waitsFor, /1 of 2 signed/);
  });

  it('a recovery rotation takes its receipts one by one, where the interaction that it supersedes stands', async () => {
    const w = witnessKey('w');
    const org = new Organisation('one');
    org.incept({ witnesses: [w.aid], witnessThreshold: 1 }, { witnesses: [w] });
    const other = org.fork(1);
    org.anchor([], { witnesses: [w] });
    const rotation = other.rotate();
    const { store } = await openStore();
    await store.process(Buffer.concat([org.stream, rotation.message]));
    assert.equal(store.state(org.aid)?.said, org.state.said);
    await store.process(receiptOf(rotation, [{ index: 0, key: w }], 'couples'));
    assert.equal(store.state(org.aid)?.said, rotation.said);
  });

  it('partially witnessed: which witnesses have not receipted, a change of them included', async () => {
    const [a, b, c] = ['a', 'b', 'c'].map(witnessKey) as [
      TestKey & { aid: Aid },
      TestKey & { aid: Aid },
      TestKey & { aid: Aid },
    ];
    const org = new Organisation('one');
    org.incept({ witnesses: [a.aid, b.aid], witnessThreshold: 1 }, { witnesses: [a, b] });
    const event = org.rotate(
      { witnessCuts: [a.aid], witnessAdds: [c.aid], witnessThreshold: 2 },
      { witnesses: [b] },
    );
    const { entry } = await waitingAfter(org.steps[0]?.message as Uint8Array, event.message);
    assert.equal(entry.code, 'KEL_AWAITS_WITNESSES');
    assert.deepEqual(entry.from, [c.aid]);
    assert.match(entry.waitsFor, /^1 more receipt: 1 of 2/);
  });

  it('not approved: the delegator and the seal that it lacks', async () => {
    const delegator = new Organisation('delegator');
    delegator.incept();
    const org = new Organisation('delegate');
    const dip = org.incept({ delegator: delegator.aid }, { delegator: approvesAll });
    const { entry, store } = await waitingAfter(dip.message);
    assert.equal(entry.code, 'KEL_AWAITS_DELEGATOR');
    assert.deepEqual(entry.from, [delegator.aid]);
    assert.match(entry.waitsFor, /of which nothing is held/);
    assert.ok(entry.releasedBy.includes(`{"i":"${org.aid}","s":"0","d":"${org.aid}"}`));
    await store.process(delegator.stream);
    assert.match(store.waiting()[0]?.waitsFor ?? '', /held up to event 0/);
    await store.process(delegator.anchor([eventSeal(dip)]).message);
    assert.deepEqual(store.waiting(), []);
    assert.equal(store.state(org.aid)?.sn, 0);
  });

  it('is not asked for an establishment event that nobody has signed', async () => {
    const org = new Organisation('one');
    org.incept();
    org.anchor();
    const rotation = org.rotate();
    const { store, db } = await openStore();
    const [outcome] = await store.process(
      signedBy(rotation, sign(rotation.bytes, [testKey('mallory')])),
    );
    assert.equal(outcome?.code, 'KEL_BAD_SIGNATURE');
    assert.equal(db.writes, 0);
  });

  it('one piece releases everything that depended on it', async () => {
    const delegator = new Organisation('delegator');
    delegator.incept();
    const org = new Organisation('delegate');
    const dip = org.incept({ delegator: delegator.aid }, { delegator: approvesAll });
    const approval = delegator.anchor([eventSeal(dip)]);
    for (let n = 0; n < 5; n++) org.anchor();
    const rest = [approval, ...org.steps].reverse().map((step) => step.message);
    const { store } = await openStore();
    await store.process(Buffer.concat(rest));
    assert.equal(store.waiting().length, 7);
    await store.process(delegator.steps[0]?.message as Uint8Array);
    assert.deepEqual(store.waiting(), []);
    assert.equal(store.state(org.aid)?.sn, 5);
  });
});
