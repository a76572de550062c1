/** Replay streams and evidence files with KERIpy: what it replays we replay, what we write it reads. */
import assert from 'node:assert/strict';
import { before, describe, it } from 'mocha';
import { parseStream } from '#kel/cesr/stream';
import { eventSeal } from '#kel/event/seal';
import { delegatedFork, interactionFork, rotationFork, seal } from '../../support/kit/forks.ts';
import { Organisation } from '../../support/kit/key-log.ts';
import { approvesAll, openStore } from '../../support/kit/store-kit.ts';
import { Keripy, keripyMissing, keripyStates } from '../../support/machines/keripy.ts';
import { skip } from '../../support/skip.ts';

/** Times of first sight are local facts, and KERIpy gives signatures in the order of their text. */
function messagesOf(stream: Uint8Array): readonly string[] {
  return [...parseStream(stream)].map((item) => {
    if (item.type === 'fault') throw new Error(item.reason);
    const { signatures, firstSeen, ...others } = item.attachments;
    const hex = (_key: string, value: unknown) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
    const signed = signatures.map((signature) => JSON.stringify(signature, hex)).sort();
    const ordinals = firstSeen.map(({ ordinal }) => ordinal);
    return JSON.stringify([item.body, signed, ordinals, others], hex);
  });
}

describe('KERIpy and replay streams', () => {
  before(async function () {
    this.timeout(300_000);
    const problem = await keripyMissing();
    if (problem !== undefined) skip(this, problem);
  });

  it('replays the logs that KERIpy wrote as KERIpy does', async function () {
    this.timeout(60_000);
    await using keripy = new Keripy();
    for (const kind of ['JSON', 'CBOR']) {
      const logs = await keripy.write({ seed: 4, logs: 8, kind });
      const { store } = await openStore();
      await store.process(Buffer.concat(logs.map(({ replay }) => replay)));
      for (const { replay, state } of logs) {
        assert.equal(store.state(state.aid as never)?.said, state.said);
        const ours = await store.replayStream(state.aid as never);
        assert.equal(ours.length, replay.length);
        assert.deepEqual(messagesOf(ours), messagesOf(replay));
      }
    }
  });

  it('reads a recovered log with its superseded events, and a delegated one', async function () {
    this.timeout(60_000);
    const org = new Organisation('recovered');
    org.incept({ keyCount: 3, signingThreshold: '2', nextThreshold: '2' });
    const recovered = org.fork(1);
    org.anchor([seal('D')]);
    org.anchor();
    recovered.rotate({ signingThreshold: '2', nextThreshold: '2' });
    recovered.anchor();
    const delegator = new Organisation('delegator');
    delegator.incept();
    const delegate = new Organisation('delegate');
    delegator.anchor([
      eventSeal(delegate.incept({ delegator: delegator.aid }, { delegator: approvesAll })),
    ]);
    const { store } = await openStore();
    for (const { stream } of [org, recovered, delegator, delegate]) await store.process(stream);
    assert.equal((await store.firstSeenLog(org.aid)).length, 5);
    const streams = await Promise.all(
      [org, delegator, delegate].map(({ aid }) => store.replayStream(aid)),
    );
    const states = await keripyStates(streams);
    assert.deepEqual(
      states.map(({ aid, sn, said }) => [aid, sn, said]).sort(),
      [recovered, delegator, delegate].map(({ state }) => [state.aid, state.sn, state.said]).sort(),
    );
  });

  it('reads evidence files up to the first of the two events', async function () {
    this.timeout(60_000);
    for (const { file, org, first } of [interactionFork(), rotationFork(), delegatedFork()]) {
      const states = await keripyStates([file]);
      const state = states.find(({ aid }) => aid === org.aid);
      assert.deepEqual([state?.sn, state?.said], [first.sn, first.said]);
    }
  });
});
