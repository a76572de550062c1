/** Own events that others must confirm: witnesses, or the organisation of a node. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Identity } from '#agent/identity/own/identity';
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';
import { Organisation } from '../../../../support/kit/key-log.ts';
import { codeOf, type Disk, identityDeps, newDisk } from '../../../../support/kit/party.ts';
import { Witnesses, witnesses } from '../../../../support/kit/witnesses.ts';

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

/** The same database a second time; the key store is one, as a token would be. */
async function copyOf(disk: Disk): Promise<Disk> {
  const db = new FailingLevel();
  for await (const [key, value] of disk.db.iterator<Buffer, Buffer>({
    keyEncoding: 'buffer',
    valueEncoding: 'buffer',
  }))
    await db.put<Buffer, Buffer>(key, value, { keyEncoding: 'buffer', valueEncoding: 'buffer' });
  return { ...disk, db };
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
    const state = await identity.rotate({ witnessCuts: gone, witnessThreshold: 1 });
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

  /** A state directory as it was before `act`, with the keys as they are after it, and what the witnesses hold open. */
  async function putBack(name: string, act: (identity: Identity) => Promise<unknown>) {
    const { disk, identity, by } = await witnessed(name);
    const former = await copyOf(disk);
    by.expectReachable = async () => undefined;
    by.present = 1;
    assert.equal(await codeOf(act(identity)), 'IDENTITY_AWAITS_WITNESSES');
    const lost = identity.pending;
    assert.ok(lost !== undefined);
    by.present = 3;
    by.open = [Buffer.from(lost.message, 'base64')];
    return { disk: former, by, lost, identity: await reopen(former, by) };
  }

  for (const act of ['rotate', 'anchor'] as const) {
    it(`gets a receipted rotation that it has lost back from a witness and goes on with it, whatever is made next: ${act}`, async () => {
      const { disk, by, lost, identity } = await putBack(`lost ${act}`, (was) => was.rotate());
      if (act === 'rotate') await identity.rotate();
      else await identity.anchor([digestSeal(some)]);
      const { kel } = await identityDeps(disk);
      const [item] = parseStream(await kel.export(identity.aid, lost.sn, 1));
      assert.ok(item?.type === 'message');
      assert.equal(parseKeyEvent(item.body).said, lost.said);
      assert.equal(identity.state.sn, lost.sn + 1);
      by.check();
      await expectWhole(disk, by);
    });
  }

  it('makes nothing but a rotation while a witness holds an interaction that was not made here', async () => {
    const { disk, by, lost, identity } = await putBack('foreign', (was) =>
      was.anchor([digestSeal(some)]),
    );
    assert.equal(await codeOf(identity.anchor([])), 'IDENTITY_AWAITS_RECOVERY');
    assert.equal(identity.pending, undefined);
    assert.equal((await identity.rotate()).sn, lost.sn);
    by.open = [];
    by.check();
    await expectWhole(disk, by);
  });

  it('refuses what a witness makes up', async () => {
    const { identity, by } = await witnessed('made up');
    const { sn } = identity.state;
    by.open = [Buffer.from('noise'), new Uint8Array(0), new Organisation('other').incept().message];
    await identity.anchor([]);
    assert.equal(identity.state.sn, sn + 1);
  });

  it('says so when the key store lacks the keys of a rotation that a witness holds, and makes no second one', async () => {
    const put = await putBack('gone', (was) => was.rotate());
    const entries = (await put.disk.keyStore.list()).filter(({ kind }) => kind === 'signing');
    await put.disk.keyStore.destroy(entries.at(-1)?.id as never);
    assert.equal(await codeOf(put.identity.rotate()), 'IDENTITY_NEXT_KEYS_LOST');
    assert.equal(put.identity.pending, undefined);
    assert.deepEqual(put.by.shown.get(put.lost.sn), [{ said: put.lost.said, type: 'rot' }]);
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
