import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { decodeEvidenceMessage, encodeEvidenceMessage } from '#agent/mesh/duplicity/messages';
import { forkId, Suspensions } from '#agent/mesh/membership/suspensions';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { seal } from '../../../../support/kit/forks.ts';
import { Organisation, type Step } from '../../../../support/kit/key-log.ts';
import { openStore } from '../../../../support/kit/store-kit.ts';

async function setUp() {
  const kit = await openStore();
  const open = async (kel = kit.store) =>
    new Suspensions({
      kel,
      table: await StateTable.open(kit.db as unknown as Database, 'suspension'),
      clock: kit.clock as never,
    });
  return { ...kit, suspensions: await open(), restarted: async () => open(await kit.reopen()) };
}

/** A log in which `at` more events than the inception stand, and a second event in place of the last. */
function forkAt(org: Organisation): readonly [Step, Step] {
  const other = org.fork(org.steps.length);
  return [org.anchor([seal('D')]), other.anchor([seal('E')])];
}

describe('the name of a fork', () => {
  it('is that of 0.1, the same from either side, and passes through a message at the greatest numbers', async () => {
    const { store } = await setUp();
    const org = new Organisation('named');
    org.incept();
    const [first, second] = forkAt(org);
    await store.process(org.stream);
    await store.process(second.message);
    const [fork] = store.duplicityCases();
    assert.ok(fork !== undefined);
    const [lower, higher] = [first.said, second.said].sort();
    const name = forkId(fork);
    assert.equal(name, `${org.aid}.1.${lower}.${higher}`);
    const { accepted, conflicting } = fork;
    assert.equal(forkId({ ...fork, accepted: conflicting, conflicting: accepted }), name);
    const longest = forkId({ ...fork, sn: Number.MAX_SAFE_INTEGER });
    const message = { kind: 'have', forks: [name, longest] } as const;
    assert.deepEqual(decodeEvidenceMessage(encodeEvidenceMessage(message)), message);
  });
});

describe('suspension', () => {
  it('begins with the evidence, lasts over a restart, and ends by resolution', async () => {
    const { store, suspensions, restarted, clock } = await setUp();
    const org = new Organisation('one');
    org.incept();
    const [first, second] = forkAt(org);
    await store.process(org.stream);
    let told = 0;
    suspensions.subscribe(() => {
      told += 1;
    });
    assert.equal(suspensions.of(org.aid), undefined);
    await assert.rejects(suspensions.resolve(org.aid, 'early'), { code: 'DUPLICITY_NONE' });
    await store.process(second.message);
    const expected = { aid: org.aid, sn: 1, saids: [first.said, second.said], since: clock.now() };
    assert.deepEqual(suspensions.of(org.aid), expected);
    assert.deepEqual((await restarted()).all(), [expected]);
    assert.equal(told, 1);
    await suspensions.resolve(org.aid, 'explained');
    assert.equal(told, 2);
    assert.deepEqual(suspensions.all(), []);
    const again = await restarted();
    assert.deepEqual(again.all(), []);
    assert.equal(again.resolutionOf(org.aid)?.reason, 'explained');
  });

  it('begins again for a new fork under the keys in force, and for none under keys replaced before', async () => {
    const { store, suspensions } = await setUp();
    const org = new Organisation('one');
    org.incept();
    const early = org.fork(1);
    const [, second] = forkAt(org);
    await store.process(Buffer.concat([org.stream, second.message]));
    org.rotate();
    await store.process(org.steps.at(-1)?.message as Uint8Array);
    assert.ok(suspensions.of(org.aid) !== undefined);
    await suspensions.resolve(org.aid, 'rotated');
    await store.process(early.anchor([seal('F')]).message);
    assert.equal(store.duplicityCases().length, 2);
    assert.equal(suspensions.of(org.aid), undefined);
    const [next, after] = forkAt(org);
    await store.process(Buffer.concat([next.message, after.message]));
    assert.deepEqual(suspensions.of(org.aid)?.saids, [next.said, after.said]);
  });

  it('is recorded once per fork', async () => {
    const { store, suspensions, restarted } = await setUp();
    const org = new Organisation('one');
    org.incept();
    const [, second] = forkAt(org);
    await store.process(Buffer.concat([org.stream, second.message]));
    const [fork, ...others] = suspensions.unrecorded();
    assert.ok(fork !== undefined && others.length === 0);
    await suspensions.recorded(fork);
    assert.deepEqual(suspensions.unrecorded(), []);
    assert.deepEqual((await restarted()).unrecorded(), []);
  });

  it('is not lifted by a write that failed', async () => {
    const { store, suspensions, db, restarted } = await setUp();
    const org = new Organisation('one');
    org.incept();
    const [, second] = forkAt(org);
    await store.process(Buffer.concat([org.stream, second.message]));
    db.failAt(1, 'lost');
    await assert.rejects(suspensions.resolve(org.aid, 'x'), { code: 'STORE_WRITE_FAILED' });
    db.heal();
    assert.ok(suspensions.of(org.aid) !== undefined);
    assert.ok((await restarted()).of(org.aid) !== undefined);
  });
});
