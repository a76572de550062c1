import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { buildInteraction } from '#kel/event/interaction';
import { buildRotation } from '#kel/event/rotation';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { LevelKelStore } from '#kel/store/level-kel-store';
import {
  Organisation,
  type Step,
  sign,
  type TestKey,
  testKey,
  verifySignature,
  witnessKey,
} from '../../../support/kit/key-log.ts';
import { digest } from '../../../support/kit/record-samples.ts';
import {
  approve,
  approvesAll,
  openStore,
  receiptOf,
  replays,
  signature,
  signedBy,
} from '../../../support/kit/store-kit.ts';

const sealed = digest('D') as Said;

function organisation(name: string, ...steps: ('rotate' | 'anchor')[]): Organisation {
  const org = new Organisation(name);
  org.incept();
  for (const step of steps) org[step]();
  return org;
}

describe('LevelKelStore', () => {
  it('accepts a log and has it again after reopening', async () => {
    const { store, reopen } = await openStore();
    const org = organisation('one', 'anchor', 'rotate', 'anchor');
    const outcomes = await store.process(org.stream);
    assert.deepEqual(
      outcomes.map(({ verdict, sn, offset }) => [verdict, sn, offset > 0]),
      [
        ['accepted', 0, false],
        ['accepted', 1, true],
        ['accepted', 2, true],
        ['accepted', 3, true],
      ],
    );
    assert.deepEqual(store.state(org.aid), org.state);
    const again = await reopen();
    assert.deepEqual(again.state(org.aid), org.state);
    assert.deepEqual(again.aids(), [org.aid]);
    assert.equal(await replays(again), 4);
  });

  it('exports what it was given, from any sequence number, in pages', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor', 'rotate', 'anchor');
    await store.process(org.stream);
    assert.deepEqual(Buffer.from(await store.export(org.aid)), org.stream);
    const tail = Buffer.concat(org.steps.slice(2).map((step) => step.message));
    assert.deepEqual(Buffer.from(await store.export(org.aid, 2)), tail);
    assert.equal((await store.export(org.aid, 4)).length, 0);
    assert.deepEqual(await store.export(org.aid, 1, 1), await store.signedEvent(org.aid, 1));
    const size = (org.steps[0]?.message.length ?? 0) + (org.steps[1]?.message.length ?? 0);
    assert.equal((await store.export(org.aid, 0, size)).length, size);
    assert.equal((await store.export(org.aid, 0, size + 1)).length, size);
  });

  it('takes a log that comes again as duplicates and writes nothing', async () => {
    const { store, db } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.stream);
    const writes = db.writes;
    const outcomes = await store.process(org.stream);
    assert.deepEqual(
      outcomes.map(({ verdict }) => verdict),
      ['duplicate', 'duplicate'],
    );
    assert.equal(db.writes, writes);
  });

  it('answers for establishment events, current and past, and for no others', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor', 'rotate', 'anchor');
    await store.process(org.stream);
    const [icp, ixn, rot] = org.steps as [Step, Step, Step];
    const past = await store.establishment(org.aid, 0, icp.said);
    assert.deepEqual(past?.keys, [org.keys(0)[0]?.key]);
    const current = await store.establishment(org.aid, 2, rot.said);
    assert.deepEqual(current?.keys, [org.keys(1)[0]?.key]);
    assert.equal(await store.establishment(org.aid, 1, ixn.said), undefined);
    assert.equal(await store.establishment(org.aid, 0, rot.said), undefined);
    assert.equal(await store.establishment(org.aid, 2, icp.said), undefined);
    assert.equal(await store.establishment(org.aid, 9, rot.said), undefined);
  });

  it('finds the event that seals a record', async () => {
    const { store } = await openStore();
    const org = organisation('one');
    const seal = org.anchor([digestSeal(sealed)]);
    org.anchor([digestSeal(sealed)]);
    await store.process(org.stream);
    assert.deepEqual(await store.sealOf(org.aid, sealed), {
      aid: org.aid,
      event: { sn: 1, said: seal.said },
    });
    assert.equal(await store.sealOf(org.aid, digest('A') as Said), undefined);
  });

  it('keeps events that come too early and accepts them when the gap is filled', async () => {
    const { store, reopen } = await openStore();
    const org = organisation('one', 'anchor', 'rotate', 'anchor');
    for (const step of org.steps.slice(1).reverse()) {
      const [outcome] = await store.process(step.message);
      assert.equal(outcome?.code, 'KEL_AWAITS_PRIOR');
    }
    assert.deepEqual(
      store.escrowed().map(({ sn }) => sn),
      [3, 2, 1],
    );
    const again = await reopen();
    assert.deepEqual(again.escrowed(), store.escrowed());
    const [outcome] = await again.process(org.steps[0]?.message as Uint8Array);
    assert.equal(outcome?.verdict, 'accepted');
    assert.deepEqual(again.state(org.aid), org.state);
    assert.deepEqual(again.escrowed(), []);
    assert.deepEqual((await reopen()).escrowed(), []);
  });

  it('collects signatures that come one by one, whatever noise comes between', async () => {
    const { store } = await openStore();
    const org = new Organisation('two');
    const event = org.incept({ keyCount: 2, signingThreshold: '2' });
    const [first, second] = org.keys(0, 2) as [
      ReturnType<typeof testKey>,
      ReturnType<typeof testKey>,
    ];
    const [partial] = await store.process(signedBy(event, [signature(event, first, 0)]));
    assert.equal(partial?.code, 'KEL_AWAITS_SIGNATURES');
    const noise = Array.from({ length: 8 }, (_, i) => ({
      index: 1,
      raw: new Uint8Array(64).fill(i),
    }));
    await store.process(signedBy(event, noise));
    assert.equal(store.escrowed().length, 1);
    const [whole] = await store.process(signedBy(event, [signature(event, second, 1)]));
    assert.equal(whole?.verdict, 'accepted');
    assert.deepEqual(Buffer.from(await store.export(org.aid)), Buffer.from(event.message));
  });

  it('adds the signatures of a later copy to an accepted event', async () => {
    const { store, reopen } = await openStore();
    const org = new Organisation('three');
    const event = org.incept({ keyCount: 3, signingThreshold: '2' });
    const all = org.keys(0, 3).map((key, index) => signature(event, key, index));
    await store.process(signedBy(event, all.slice(0, 2)));
    const late = signedBy(event, all.slice(2));
    const [again] = await store.process(late);
    assert.deepEqual([again?.verdict, again?.brought], ['duplicate', true]);
    const [known] = await store.process(late);
    assert.deepEqual([known?.verdict, known?.brought], ['duplicate', false]);
    assert.deepEqual(Buffer.from(await store.export(org.aid)), Buffer.from(event.message));
    assert.equal(await replays(await reopen()), 1);
  });

  for (const form of ['indexed', 'couples'] as const) {
    it(`counts ${form} receipts that come before and after their event`, async () => {
      const { store } = await openStore();
      const witnesses = ['a', 'b', 'c'].map(witnessKey);
      const org = new Organisation('witnessed');
      const event = org.incept({ witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 });
      const receipt = (index: number) =>
        receiptOf(event, [{ index, key: witnesses[index] as (typeof witnesses)[0] }], form);
      const verdicts: (string | undefined)[] = [];
      for (const message of [
        receipt(0),
        event.message,
        receipt(0),
        receipt(1),
        receipt(2),
        receipt(2),
      ]) {
        const [outcome] = await store.process(message);
        verdicts.push(outcome?.code ?? outcome?.verdict);
      }
      assert.deepEqual(verdicts, [
        'KEL_AWAITS_PRIOR',
        'KEL_AWAITS_WITNESSES',
        'KEL_AWAITS_WITNESSES',
        'accepted',
        'accepted',
        'duplicate',
      ]);
      assert.deepEqual(store.escrowed(), []);
      assert.equal(await replays(store), 1);
      const whole = new Organisation('witnessed').incept(
        { witnesses: witnesses.map(({ aid }) => aid), witnessThreshold: 2 },
        { witnesses },
      );
      assert.deepEqual(Buffer.from(await store.export(org.aid)), Buffer.from(whole.message));
    });
  }

  it('refuses a receipt of somebody who is no witness, and one of another event', async () => {
    const { store, db } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.stream);
    const [icp, ixn] = org.steps as [Step, Step];
    const writes = db.writes;
    const [foreign] = await store.process(
      receiptOf(icp, [{ index: 0, key: witnessKey('x') }], 'couples'),
    );
    assert.equal(foreign?.code, 'KEL_BAD_SIGNATURE');
    const [other] = await store.process(
      receiptOf({ ...ixn, sn: 0 }, [{ index: 0, key: witnessKey('x') }], 'couples'),
    );
    assert.equal(other?.code, 'KEL_CONFLICT_UNVERIFIED');
    assert.equal(db.writes, writes);
  });

  it('holds a delegated event until the delegator has sealed it', async () => {
    const { store, reopen } = await openStore();
    const delegator = organisation('delegator');
    const delegate = new Organisation('delegate');
    const dip = delegate.incept({ delegator: delegator.aid }, { delegator: approvesAll });
    const [early] = await store.process(dip.message);
    assert.equal(early?.code, 'KEL_AWAITS_DELEGATOR');
    await store.process(delegator.stream);
    assert.equal(store.state(dip.aid), undefined);
    await store.process(approve(delegator, dip).message);
    assert.equal(store.state(dip.aid)?.delegator, delegator.aid);
    assert.equal(await replays(await reopen()), 3);
  });

  it('lets a recovery rotation take the place of interactions, with all that they sealed', async () => {
    const { store, reopen } = await openStore();
    const org = organisation('one');
    org.anchor([digestSeal(sealed)]);
    org.anchor();
    await store.process(org.stream);
    const recovered = org.fork(1);
    const icp = recovered.steps[0] as Step;
    const rot = recovered.rotate();
    const after = recovered.anchor();
    await store.process(rot.message);
    assert.deepEqual(
      Buffer.from(await store.export(org.aid)),
      Buffer.concat([icp.message, rot.message]),
    );
    await store.process(after.message);
    assert.deepEqual(store.state(org.aid), recovered.state);
    assert.equal(await store.sealOf(org.aid, sealed), undefined);
    assert.deepEqual(
      Buffer.from(await store.export(org.aid)),
      Buffer.concat([icp.message, rot.message, after.message]),
    );
    const again = await reopen();
    assert.deepEqual(again.state(org.aid), recovered.state);
    assert.equal(await replays(again), 5);
    const [late] = await again.process(org.steps[1]?.message as Uint8Array);
    assert.equal(late?.code, 'KEL_SUPERSEDED');
    assert.deepEqual(await again.duplicities(), []);
  });

  it('keeps both events of a duplicity and the state of the first', async () => {
    const { store, reopen } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.stream);
    const other = org.fork(1).anchor([digestSeal(sealed)]);
    const [outcome] = await store.process(other.message);
    assert.equal(outcome?.code, 'KEL_DUPLICITOUS');
    assert.deepEqual(store.state(org.aid), org.state);
    const again = await reopen();
    const [proof, ...more] = await again.duplicities();
    assert.equal(more.length, 0);
    assert.deepEqual([proof?.aid, proof?.sn, proof?.since], [org.aid, 1, 1_000_000]);
    assert.deepEqual(proof?.accepted, org.steps[1]?.said);
    assert.deepEqual(
      new Uint8Array(proof?.conflictingMessage ?? []),
      new Uint8Array(other.message),
    );
    assert.deepEqual(
      new Uint8Array(proof?.acceptedMessage ?? []),
      new Uint8Array(org.steps[1]?.message ?? []),
    );
    await again.process(other.message);
    assert.equal((await again.duplicities()).length, 1);
  });

  it('keeps a bounded number of duplicities of one AID', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.stream);
    for (let i = 0; i < 20; i++) {
      const other = org.fork(1).anchor([digestSeal(digest(String.fromCharCode(65 + i)) as Said)]);
      const [outcome] = await store.process(other.message);
      assert.equal(outcome?.code, 'KEL_DUPLICITOUS');
    }
    assert.equal((await store.duplicities()).length, 16);
  });

  it('changes nothing for malformed, forged and unwanted messages', async () => {
    const { store, db } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.steps[0]?.message as Uint8Array);
    const writes = db.writes;
    const [, ixn] = org.steps as [Step, Step];
    const forged = signedBy(ixn, sign(ixn.bytes, [testKey('mallory')]));
    const changed = Buffer.from(ixn.message);
    changed[60] = (changed[60] as number) ^ 1;
    const stranger = organisation('stranger');
    const codes = [
      (await store.process(forged))[0]?.code,
      (await store.process(changed))[0]?.verdict,
      (await store.process(Buffer.from('garbage')))[0]?.code,
      (await store.process(stranger.stream, { accepts: (aid) => aid === org.aid }))[0]?.code,
    ];
    assert.deepEqual(codes, ['KEL_BAD_SIGNATURE', 'refused', 'KEL_BAD_STREAM', 'KEL_NOT_WANTED']);
    assert.equal(db.writes, writes);
    assert.equal(store.state(org.aid)?.sn, 0);
    assert.equal(store.counters().refused['KEL_NOT_WANTED'], 1);
  });

  it('reads on behind a bad message', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor');
    const bad = Buffer.from(organisation('two').stream);
    bad[100] = (bad[100] as number) ^ 1;
    const outcomes = await store.process(Buffer.concat([bad, org.stream]));
    assert.deepEqual(
      outcomes.map(({ verdict }) => verdict),
      ['refused', 'accepted', 'accepted'],
    );
  });

  it('tells listeners in order and only of what is on disk', async () => {
    const { store, db, reopen } = await openStore();
    const org = organisation('one', 'anchor', 'rotate');
    const told: string[] = [];
    const unsubscribe = store.subscribe((state, message) => {
      assert.equal(db.writes, 1);
      assert.ok(message.length > 0);
      told.push(`${state.eventType} ${state.sn}`);
    });
    await store.process(org.stream);
    assert.deepEqual(told, ['icp 0', 'ixn 1', 'rot 2']);
    assert.equal((await reopen()).state(org.aid)?.sn, 2);
    unsubscribe();
    await store.process(org.anchor().message);
    assert.equal(told.length, 3);
  });

  it('serialises calls', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor', 'rotate', 'anchor');
    await Promise.all(org.steps.map((step) => store.process(step.message)));
    assert.deepEqual(store.state(org.aid), org.state);
    assert.deepEqual(store.counters().waiting, 0);
  });

  it('takes nothing when it is closed', async () => {
    const { store } = await openStore();
    await store.close();
    await assert.rejects(store.process(new Uint8Array()), { code: 'STORE_CLOSED' });
  });
});

describe('escrow of the store', () => {
  it('has a bound per AID, loses the oldest, and counts it', async () => {
    const { store, db, clock } = await openStore({ maxPerAid: 3 });
    const org = organisation('one', 'anchor', 'anchor', 'anchor', 'anchor', 'anchor');
    for (const step of org.steps.slice(1)) await store.process(step.message);
    assert.deepEqual(
      store.escrowed().map(({ sn }) => sn),
      [3, 4, 5],
    );
    assert.equal(store.counters().dropped, 2);
    const roomier = await LevelKelStore.open(db, { verifySignature, clock });
    assert.deepEqual(roomier.escrowed(), store.escrowed());
  });

  it('does not let strangers drive out what a known key has signed', async () => {
    const { store } = await openStore({ maxMessages: 4 });
    const org = new Organisation('two');
    const event = org.incept({ keyCount: 2, signingThreshold: '2' });
    const [first] = org.keys(0, 2);
    await store.process(signedBy(event, [signature(event, first as TestKey, 0)]));
    for (let i = 0; i < 8; i++) {
      await store.process(organisation(`stranger ${i}`, 'anchor').steps[1]?.message as Uint8Array);
    }
    assert.equal(store.escrowed().length, 5);
    assert.equal(store.escrowed()[0]?.code, 'KEL_AWAITS_SIGNATURES');
  });

  it('has a bound in bytes', async () => {
    const step = organisation('one', 'anchor').steps[1];
    const { store } = await openStore({ maxBytes: (step?.message.length ?? 0) * 2 });
    for (let i = 0; i < 5; i++) {
      await store.process(organisation(`stranger ${i}`, 'anchor').steps[1]?.message as Uint8Array);
    }
    assert.equal(store.escrowed().length, 2);
  });

  it('keeps few copies of an event that nobody can verify yet', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor');
    const ixn = org.steps[1] as Step;
    for (let i = 0; i < 9; i++) {
      await store.process(signedBy(ixn, [{ index: 0, raw: new Uint8Array(64).fill(i) }]));
    }
    assert.equal(store.escrowed().length, 4);
    await store.process(ixn.message);
    await store.process(org.steps[0]?.message as Uint8Array);
    assert.deepEqual(store.state(org.aid), org.state);
  });

  it('refuses what is too large to wait', async () => {
    const { store } = await openStore();
    const org = organisation('one');
    const seals = Array.from({ length: 1400 }, () => digestSeal(sealed));
    const large = org.anchor(seals);
    const [outcome] = await store.process(large.message);
    assert.equal(outcome?.code, 'KEL_LIMIT');
    await store.process(org.stream);
    assert.equal(store.state(org.aid)?.sn, 1);
  });

  it('lets go of what has waited too long', async () => {
    const { store, clock, reopen } = await openStore();
    const org = organisation('one', 'anchor');
    await store.process(org.steps[1]?.message as Uint8Array);
    clock.advance(1_199_999);
    await store.process(new Uint8Array());
    assert.equal(store.escrowed().length, 1);
    clock.advance(20_000);
    await store.process(new Uint8Array());
    assert.equal(store.escrowed().length, 0);
    assert.equal(store.counters().expired, 1);
    assert.equal((await reopen()).escrowed().length, 0);
  });

  it('gives up an event that can no longer follow', async () => {
    const { store } = await openStore();
    const org = organisation('one', 'anchor');
    const other = org.fork(1);
    const rotation = other.rotate();
    const follower = buildInteraction({ prior: other.state, anchors: [] });
    await store.process(signedBy(follower, sign(follower.bytes, other.keys(1))));
    await store.process(org.stream);
    assert.equal(store.escrowed().length, 1);
    await store.process(rotation.message);
    assert.equal(store.state(org.aid)?.sn, 2);
    assert.deepEqual(store.escrowed(), []);
  });

  it('does not take a rotation whose keys were never committed to', async () => {
    const { store } = await openStore();
    const org = organisation('one');
    await store.process(org.stream);
    const keys = [testKey('mallory')];
    const event = buildRotation({
      prior: org.state,
      keys: keys.map(({ key }) => key),
      nextDigests: [],
    });
    const [outcome] = await store.process(signedBy(event, sign(event.bytes, keys)));
    assert.equal(outcome?.code, 'KEL_AWAITS_NEXT_KEYS');
    assert.equal(store.state(org.aid)?.sn, 0);
  });
});
