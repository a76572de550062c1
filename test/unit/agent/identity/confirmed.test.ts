/** Own events that others must confirm: witnesses, or the organisation of a node. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Identity } from '#agent/identity/identity';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { Organisation } from '../../kel/organisation.ts';
import { codeOf, type Disk, identityDeps, newDisk } from '../party.ts';
import { Witnesses, witnesses } from '../witnesses.ts';

const options = { algorithm: 'ed25519', kind: 'CBOR' } as const;
const some = 'EBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' as Said;

async function witnessed(name: string): Promise<{ disk: Disk; identity: Identity; by: Witnesses }> {
  const disk = newDisk(name);
  const identity = await Identity.create(await identityDeps(disk), options);
  const by = new Witnesses();
  identity.confirmWith(by);
  await identity.rotate({ witnessAdds: witnesses.map(({ aid }) => aid), witnessThreshold: 2 });
  return { disk, identity, by };
}

async function reopen(disk: Disk, by: Witnesses): Promise<Identity> {
  const identity = await Identity.open(await identityDeps(disk));
  identity.confirmWith(by);
  return identity;
}

/** All that an identity can do still works. */
async function expectWhole(disk: Disk, by: Witnesses): Promise<void> {
  const identity = await reopen(disk, by);
  assert.equal(await identity.resume(), true);
  assert.equal(identity.pending, undefined);
  const { sn } = await identity.anchor([digestSeal(some)]);
  await identity.rotate();
  assert.equal(identity.state.sn, sn + 1);
  const again = await reopen(disk, by);
  assert.equal(again.state.said, identity.state.said);
  by.check();
}

describe('identity with witnesses', () => {
  it('has every event receipted before it is in the log', async () => {
    const { identity, by } = await witnessed('receipted');
    const { sn, said } = await identity.anchor([digestSeal(some)]);
    assert.deepEqual(by.shown.get(sn), [{ said, type: 'ixn' }]);
    assert.equal(identity.state.said, said);
    assert.equal(identity.state.witnessThreshold, 2);
  });

  it('makes nothing while too few are there or nobody can ask them', async () => {
    const { disk, identity, by } = await witnessed('away');
    const before = identity.state;
    by.present = 1;
    for (const task of [() => identity.anchor([]), () => identity.rotate()])
      assert.equal(await codeOf(task()), 'IDENTITY_AWAITS_WITNESSES');
    const alone = await Identity.open(await identityDeps(disk));
    assert.equal(await codeOf(alone.anchor([])), 'IDENTITY_AWAITS_WITNESSES');
    assert.equal(alone.pending, undefined);
    assert.equal(alone.state.said, before.said);
    by.present = 3;
    await expectWhole(disk, by);
  });

  it('keeps the one event at its place until it is final, across restarts', async () => {
    const { disk, identity, by } = await witnessed('kept');
    const { sn } = identity.state;
    by.expectReachable = async () => undefined;
    by.present = 1;
    assert.equal(await codeOf(identity.anchor([digestSeal(some)])), 'IDENTITY_AWAITS_WITNESSES');
    assert.equal(identity.state.sn, sn);
    const waiting = identity.pending?.said;
    const restarted = await reopen(disk, by);
    assert.equal(restarted.pending?.said, waiting);
    assert.equal(await codeOf(restarted.anchor([])), 'IDENTITY_AWAITS_WITNESSES');
    assert.equal(restarted.pending?.said, waiting);
    by.present = 2;
    assert.equal(await restarted.resume(), true);
    assert.equal(restarted.state.said, waiting);
    await expectWhole(disk, by);
  });

  it('rotates over an interaction that waits, and seals what it sealed', async () => {
    const { disk, identity, by } = await witnessed('over');
    by.expectReachable = async () => undefined;
    by.present = 1;
    await codeOf(identity.anchor([digestSeal(some)]));
    const gone = witnesses.slice(1).map(({ aid }) => aid);
    const state = await identity.rotate({ witnessCuts: gone });
    assert.equal(state.witnesses.length, 1);
    const { kel } = await identityDeps(disk);
    assert.deepEqual((await kel.sealOf(identity.aid, some))?.event, {
      sn: state.sn,
      said: state.said,
    });
    await expectWhole(disk, by);
  });

  it('waits with a rotation that waits, whatever is asked of it', async () => {
    const { disk, identity, by } = await witnessed('rotation waits');
    by.expectReachable = async () => undefined;
    by.present = 1;
    const { keys } = identity.state;
    assert.equal(await codeOf(identity.rotate()), 'IDENTITY_AWAITS_WITNESSES');
    const waiting = identity.pending?.said;
    assert.equal(await codeOf(identity.rotate()), 'IDENTITY_AWAITS_WITNESSES');
    assert.equal(identity.pending?.said, waiting);
    assert.deepEqual(identity.state.keys, keys);
    assert.equal((await identity.sign(new Uint8Array([1]))).length, 1);
    by.present = 2;
    await expectWhole(disk, by);
  });

  for (const act of ['anchor', 'rotate'] as const) {
    it(`survives every write that fails in ${act}, and shows one event per place`, async () => {
      for (let n = 1; n <= 8; n++) {
        for (const how of ['lost', 'persisted'] as const) {
          const { disk, identity, by } = await witnessed(`${act} ${n} ${how}`);
          disk.db.failAt(n, how);
          await codeOf(act === 'anchor' ? identity.anchor([digestSeal(some)]) : identity.rotate());
          disk.db.heal();
          await expectWhole(disk, by);
        }
      }
    });
  }
});

describe('identity of a node', () => {
  async function requested(name: string) {
    const parent = new Organisation(`${name} organisation`);
    const icp = parent.incept();
    const disk = newDisk(name);
    const pending = await Identity.request(await identityDeps(disk), {
      ...options,
      delegator: parent.aid,
    });
    return { parent, icp, disk, pending };
  }

  it('begins when its inception is sealed, and not before', async () => {
    const { parent, disk, pending } = await requested('begins');
    assert.equal(
      await codeOf(Identity.open(await identityDeps(disk))),
      'IDENTITY_AWAITS_DELEGATOR',
    );
    assert.equal(
      await codeOf(Identity.create(await identityDeps(disk), options)),
      'IDENTITY_EXISTS',
    );
    parent.anchor([eventSeal(pending)]);
    const deps = await identityDeps(disk);
    await deps.kel.process(parent.stream);
    const identity = await Identity.open(deps);
    assert.equal(identity.aid, pending.aid);
    assert.equal(identity.state.delegator, parent.aid);
    await identity.anchor([]);
  });

  it('rotates when its rotation is sealed, with the keys of before until then', async () => {
    const { parent, disk, pending } = await requested('rotates');
    parent.anchor([eventSeal(pending)]);
    const deps = await identityDeps(disk);
    await deps.kel.process(parent.stream);
    const identity = await Identity.open(deps);
    const { keys } = identity.state;
    assert.equal(await codeOf(identity.rotate()), 'IDENTITY_AWAITS_DELEGATOR');
    assert.equal(identity.pending?.type, 'drt');
    assert.deepEqual(identity.state.keys, keys);
    await identity.sign(new Uint8Array([1]));
    const drt = identity.pending;
    assert.ok(drt !== undefined);
    await deps.kel.process(parent.anchor([eventSeal(drt)]).message);
    // The seal came with sync: whatever is asked next is answered with the new keys.
    const { said } = await identity.signerGroup(new Uint8Array([1]));
    assert.equal(said, drt.said);
    assert.equal(identity.pending, undefined);
    assert.notDeepEqual(identity.state.keys, keys);
  });

  it('survives every write that fails before it is approved and after', async () => {
    for (let n = 1; n <= 6; n++) {
      for (const how of ['lost', 'persisted'] as const) {
        const parent = new Organisation(`crash ${n} ${how}`);
        parent.incept();
        const disk = newDisk(`node ${n} ${how}`);
        const request = { ...options, delegator: parent.aid };
        disk.db.failAt(n, how);
        await Identity.request(await identityDeps(disk), request).catch(() => undefined);
        disk.db.heal();
        const begun = await identityDeps(disk);
        const pending = Identity.pending(begun.table) ?? (await Identity.request(begun, request));
        parent.anchor([eventSeal(pending)]);
        const deps = await identityDeps(disk);
        disk.db.failAt(n, how);
        await deps.kel.process(parent.stream).catch(() => undefined);
        await Identity.open(deps).catch(() => undefined);
        disk.db.heal();
        const again = await identityDeps(disk);
        await again.kel.process(parent.stream);
        const identity = await Identity.open(again);
        assert.equal(identity.aid, pending.aid);
        await identity.anchor([]);
      }
    }
  });
});
