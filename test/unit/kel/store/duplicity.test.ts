import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { verifyEvidence } from '#kel/duplicity/evidence-file';
import type { DuplicityCase } from '#kel/store/duplicity-evidence';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import type { WriteFailure } from '../../../support/kit/failing-level.ts';
import { delegatedFork, interactionFork, rotationFork, seal } from '../../../support/kit/forks.ts';
import { Organisation, verifySignature, witnessKey } from '../../../support/kit/key-log.ts';
import { openStore } from '../../../support/kit/store-kit.ts';

const forkOf = ({ aid, sn, accepted, conflicting }: DuplicityCase) => [
  aid,
  sn,
  accepted,
  conflicting,
];

async function onlyFile(store: LevelKelStore): Promise<Buffer> {
  const [found, ...others] = store.duplicityCases();
  assert.ok(found !== undefined && others.length === 0);
  return Buffer.from(await store.evidenceFile(found));
}

describe('log store and duplicity', () => {
  for (const make of [interactionFork, rotationFork, delegatedFork]) {
    it(`gives evidence of ${make.name} that proves itself elsewhere`, async () => {
      const { file, org, first, second } = make();
      const { store, reopen } = await openStore();
      await store.process(file);
      assert.deepEqual(store.duplicityCases().map(forkOf), [
        [org.aid, first.sn, first.said, second.said],
      ]);
      assert.deepEqual(await onlyFile(store), Buffer.from(file));
      assert.deepEqual(await onlyFile(await reopen()), Buffer.from(file));
      const other = await openStore();
      assert.equal(await other.store.takeEvidence(file), 'new');
      assert.equal(await other.store.takeEvidence(file), 'known');
      assert.deepEqual(other.store.state(org.aid), store.state(org.aid));
      assert.deepEqual(await onlyFile(other.store), Buffer.from(file));
    });
  }

  it('names each fork once, whichever event came first', async () => {
    const { prefix, first, second, org } = interactionFork();
    const { store } = await openStore();
    const before = prefix.map((step) => step.message);
    await store.process(Buffer.concat([...before, second.message, first.message]));
    assert.deepEqual(store.duplicityCases().map(forkOf), [
      [org.aid, first.sn, second.said, first.said],
    ]);
    assert.equal(await store.takeEvidence(interactionFork().file), 'known');
    assert.equal(verifyEvidence(await onlyFile(store), verifySignature).verdict, 'duplicity');
  });

  it('keeps the fork itself and not what follows on the other branch', async () => {
    const { file, org, prefix } = interactionFork();
    const branch = org.fork(prefix.length);
    branch.anchor([seal('F')]);
    const after = branch.anchor();
    org.anchor();
    const { store } = await openStore();
    await store.process(
      Buffer.concat([file, org.steps.at(-1)?.message ?? [], after.message] as Uint8Array[]),
    );
    assert.equal(store.duplicityCases().length, 1);
  });

  it('takes evidence where a recovery has superseded both events, and gives it on', async () => {
    const org = new Organisation('stolen');
    org.incept();
    const [thief, recovered] = [org.fork(1), org.fork(1)];
    const [own, stolen] = [org.anchor([seal('D')]), thief.anchor([seal('E')])];
    const icp = org.steps[0]?.message as Uint8Array;
    const file = Buffer.concat([icp, own.message, stolen.message]);
    const rotation = recovered.rotate();
    const { store, reopen } = await openStore();
    await store.process(Buffer.concat([icp, rotation.message, own.message, stolen.message]));
    assert.deepEqual(store.duplicityCases(), []);
    assert.equal(await store.takeEvidence(file), 'new');
    assert.deepEqual(store.state(org.aid), recovered.state);
    const again = await reopen();
    assert.deepEqual(again.duplicityCases().map(forkOf), [[org.aid, 1, own.said, stolen.said]]);
    assert.deepEqual(await onlyFile(again), file);
    await again.replay();
  });

  it('proves a fork that a recovery has superseded since', async () => {
    const { file, org, prefix } = interactionFork();
    const { store } = await openStore();
    await store.process(file);
    const recovered = org.fork(prefix.length);
    await store.process(recovered.rotate({ signingThreshold: '2', nextThreshold: '2' }).message);
    assert.deepEqual(store.state(org.aid), recovered.state);
    assert.deepEqual(await onlyFile(store), Buffer.from(file));
  });

  it('sees a fork of two events of which no witness has receipted either', async () => {
    const witness = witnessKey('w');
    const org = new Organisation('witnessed');
    org.incept({ witnesses: [witness.aid], witnessThreshold: 1 }, { witnesses: [witness] });
    const other = org.fork(1);
    const { store, reopen } = await openStore();
    await store.process(org.stream);
    const [first, second] = [org.anchor([seal('D')]), other.anchor([seal('E')])];
    const outcomes = [await store.process(first.message), await store.process(second.message)];
    assert.deepEqual(
      outcomes.flat().map(({ code }) => code),
      ['KEL_AWAITS_WITNESSES', 'KEL_AWAITS_WITNESSES'],
    );
    const again = await reopen();
    assert.deepEqual(again.duplicityCases().map(forkOf), [[org.aid, 1, first.said, second.said]]);
    assert.equal(verifyEvidence(await onlyFile(again), verifySignature).verdict, 'duplicity');
    assert.equal(again.state(org.aid)?.sn, 0);
  });

  it('takes no evidence that proves nothing, and none of an AID that is not wanted', async () => {
    const { file, prefix, first } = interactionFork();
    const { store, db } = await openStore();
    const changed = Buffer.from(file);
    changed[changed.length - 30] = (changed[changed.length - 30] as number) ^ 1;
    const log = Buffer.concat([...prefix, first].map((step) => step.message));
    for (const bytes of [changed, log, Buffer.from('noise'), Buffer.alloc(0)])
      assert.equal(await store.takeEvidence(bytes), 'refused');
    assert.equal(await store.takeEvidence(file, { accepts: () => false }), 'refused');
    assert.equal(db.writes, 0);
    assert.deepEqual(store.aids(), []);
  });

  it('tells of a fork once, and only when it is on disk', async () => {
    for (const kind of ['lost', 'persisted'] satisfies WriteFailure[]) {
      const { file, prefix, first, second } = interactionFork();
      const { store, db } = await openStore();
      const told: unknown[] = [];
      store.subscribeDuplicity((found) => told.push(found.conflicting));
      await store.process(Buffer.concat([...prefix, first].map((step) => step.message)));
      db.failAt(1, kind);
      await assert.rejects(store.process(second.message), { code: 'STORE_WRITE_FAILED' });
      assert.deepEqual(told, []);
      db.heal();
      await store.process(second.message);
      assert.deepEqual(told, [second.said]);
      await store.process(file);
      assert.deepEqual(told, [second.said], kind);
    }
  });
});

describe('evidence from elsewhere and failing writes', () => {
  /** Of an AID that has recovered here: events, the case, and the file itself are written. */
  function scenario() {
    const org = new Organisation('stolen');
    org.incept();
    const [thief, recovered] = [org.fork(1), org.fork(1)];
    const pair = [org.anchor([seal('D')]), thief.anchor([seal('E')])];
    const icp = org.steps[0]?.message as Uint8Array;
    const file = Buffer.concat([icp, ...pair.map((step) => step.message)]);
    return { file, log: Buffer.concat([icp, recovered.rotate().message]), state: recovered.state };
  }

  for (const kind of ['lost', 'persisted'] satisfies WriteFailure[]) {
    for (const isHeld of [true, false]) {
      it(`${kind}, log ${isHeld ? 'held' : 'not held'}: all of it or none, and again it is whole`, async () => {
        const { file, log, state } = scenario();
        const { store, db, reopen } = await openStore();
        if (isHeld) await store.process(log);
        db.failAt(1, kind);
        await assert.rejects(store.takeEvidence(file), { code: 'STORE_WRITE_FAILED' });
        db.heal();
        const other = await reopen();
        const found = other.duplicityCases().length;
        assert.equal(found, kind === 'persisted' ? 1 : 0);
        assert.equal(await store.takeEvidence(file), found === 1 ? 'known' : 'new');
        const last = await reopen();
        assert.deepEqual(await onlyFile(last), file);
        if (isHeld) assert.deepEqual(last.state(state.aid), state);
        await last.replay();
      });
    }
  }
});
