/** The way back of an own log: lost keys, events that were not made here, a log that was rotated elsewhere. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Identity } from '#agent/identity/own/identity';
import type { LocalKeys } from '#agent/identity/own/local-keys';
import { buildInteraction } from '#kel/event/interaction';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import type { Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import type { KeyId } from '#src/keystore/key-store';
import { codeOf, type Disk, identityDeps, newDisk } from '../../../../support/kit/party.ts';

const options = { algorithm: 'ed25519', kind: 'CBOR' } as const;
const mine = 'EBAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA' as Said;
const theirs = 'EBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB' as Said;

async function begun(name: string): Promise<{ disk: Disk; identity: Identity }> {
  const disk = newDisk(name);
  const identity = await Identity.create(await identityDeps(disk), options);
  await identity.rotate();
  await identity.anchor([digestSeal(mine)]);
  return { disk, identity };
}

async function localKeys(disk: Disk): Promise<LocalKeys> {
  return (await identityDeps(disk)).table.get('local-keys') as LocalKeys;
}

/** The key store keeps these keys alone. */
async function keepOnly(disk: Disk, ids: readonly KeyId[]): Promise<void> {
  for (const { id } of await disk.keyStore.list())
    if (!ids.includes(id)) await disk.keyStore.destroy(id);
}

/** What somebody who has the current key signs next. */
async function signElsewhere(disk: Disk, identity: Identity): Promise<EventReference> {
  const { sn, said, bytes } = buildInteraction({
    prior: identity.state,
    anchors: [digestSeal(theirs)],
  });
  const { kel } = await identityDeps(disk);
  const [outcome] = await kel.process(encodeSignedEvent(bytes, await identity.sign(bytes)));
  assert.equal(outcome?.verdict, 'accepted');
  return { sn, said };
}

/** The memory of the state directory, to be put back in place of a later one. */
async function remembered(disk: Disk): Promise<() => Promise<void>> {
  const { table } = await identityDeps(disk);
  const before = { 'local-keys': table.get('local-keys'), made: table.get('made') };
  return async () => (await identityDeps(disk)).table.put(before);
}

/** A backup of the state directory; the key store is a token and stands apart. */
async function copyOf(disk: Disk): Promise<Disk> {
  const { db } = newDisk('copy');
  for await (const [key, value] of disk.db.iterator({ keyEncoding: 'view', valueEncoding: 'view' }))
    await db.put(key as never, value as never, { keyEncoding: 'view', valueEncoding: 'view' });
  return { ...disk, db };
}

/** All that an identity can do works. */
async function expectWhole(disk: Disk): Promise<Identity> {
  const identity = await Identity.open(await identityDeps(disk));
  assert.equal(identity.hasForeignEvents, false);
  const { sn } = await identity.anchor([]);
  await identity.rotate();
  assert.equal(identity.state.sn, sn + 1);
  await identity.storageKey('agreements');
  await identity.tunnelSecrets(identity.state.establishment.said, 0);
  return identity;
}

describe('recovery of an identity', () => {
  it('rotates with the next keys alone, and derives from roots that it has', async () => {
    const { disk, identity } = await begun('next alone');
    const { sn, keys } = identity.state;
    const { next } = await localKeys(disk);
    await keepOnly(disk, next.signing);
    assert.equal(
      await codeOf(Identity.open(await identityDeps(disk))),
      'IDENTITY_CURRENT_KEYS_LOST',
    );
    const recovered = await Identity.recover(await identityDeps(disk), {});
    assert.equal(recovered.state.sn, sn + 1);
    assert.notDeepEqual(recovered.state.keys, keys);
    await expectWhole(disk);
  });

  it('does not rotate without them, and changes nothing', async () => {
    const { disk, identity } = await begun('no next');
    const { current, storageRoot } = await localKeys(disk);
    await keepOnly(disk, [...current.signing, current.root, storageRoot]);
    const before = [(await disk.keyStore.list()).length, await localKeys(disk)];
    for (const task of [Identity.open, (deps: never) => Identity.recover(deps, {})])
      assert.equal(
        await codeOf(task((await identityDeps(disk)) as never)),
        'IDENTITY_NEXT_KEYS_LOST',
      );
    assert.deepEqual([(await disk.keyStore.list()).length, await localKeys(disk)], before);
    assert.equal((await identityDeps(disk)).kel.state(identity.aid)?.said, identity.state.said);
  });

  it('survives every write that fails', async () => {
    for (let n = 1; n <= 8; n++) {
      for (const how of ['lost', 'persisted'] as const) {
        const { disk, identity } = await begun(`${n} ${how}`);
        await keepOnly(disk, (await localKeys(disk)).next.signing);
        const deps = await identityDeps(disk);
        disk.db.failAt(n, how);
        await codeOf(Identity.recover(deps, {}));
        disk.db.heal();
        const code = await codeOf(Identity.open(await identityDeps(disk)).then(() => 'open'));
        assert.ok([undefined, 'IDENTITY_CURRENT_KEYS_LOST'].includes(code), `${n} ${how}: ${code}`);
        if (code !== undefined) await Identity.recover(await identityDeps(disk), {});
        assert.equal((await expectWhole(disk)).aid, identity.aid);
      }
    }
  });
});

describe('events of the own log that were not made here', () => {
  it('stop own events, and give way to a rotation with what they seal', async () => {
    const { disk, identity } = await begun('stolen');
    const foreign = await signElsewhere(disk, identity);
    const opened = await Identity.open(await identityDeps(disk));
    assert.equal(opened.hasForeignEvents, true);
    assert.equal(await codeOf(opened.anchor([])), 'IDENTITY_AWAITS_RECOVERY');
    await opened.rotate();
    assert.equal(opened.state.sn, foreign.sn);
    const { kel } = await identityDeps(disk);
    assert.equal(await kel.sealOf(opened.aid, theirs), undefined);
    assert.ok(await kel.sealOf(opened.aid, mine));
    await expectWhole(disk);
  });

  it('stay when they are adopted', async () => {
    const { disk, identity } = await begun('adopted');
    const foreign = await signElsewhere(disk, identity);
    const opened = await Identity.open(await identityDeps(disk));
    await opened.rotate({ adopt: true });
    assert.equal(opened.state.sn, foreign.sn + 1);
    assert.ok(await (await identityDeps(disk)).kel.sealOf(opened.aid, theirs));
    await expectWhole(disk);
  });

  it('are followed after a rotation elsewhere, with the keys that the key store has', async () => {
    const { disk, identity } = await begun('rotated elsewhere');
    const putBack = await remembered(disk);
    await identity.rotate();
    await identity.anchor([digestSeal(theirs)]);
    const { sn } = identity.state;
    await putBack();
    const open = async () => codeOf(Identity.open(await identityDeps(disk)));
    // The keys that are remembered as current were destroyed by the rotation.
    assert.equal(await open(), 'IDENTITY_CURRENT_KEYS_LOST');
    const alone = Identity.recover(await identityDeps(disk), {});
    assert.equal(await codeOf(alone), 'IDENTITY_LOG_DIVERGED');
    const adopted = await Identity.recover(await identityDeps(disk), { adopt: true });
    assert.equal(adopted.state.sn, sn + 1);
    await expectWhole(disk);
  });

  it('are brought by hand where the state directory is from before a rotation', async () => {
    const { disk, identity } = await begun('old directory');
    const old = await copyOf(disk);
    await identity.rotate();
    await identity.anchor([digestSeal(theirs)]);
    const log = await (await identityDeps(disk)).kel.export(identity.aid);
    assert.equal(
      await codeOf(Identity.open(await identityDeps(old))),
      'IDENTITY_CURRENT_KEYS_LOST',
    );
    const adopted = await Identity.recover(await identityDeps(old), { adopt: true }, log);
    assert.equal(adopted.state.sn, identity.state.sn + 1);
    assert.ok(await (await identityDeps(old)).kel.sealOf(identity.aid, theirs));
    await expectWhole(old);
  });

  it('are not those that a crash has left', async () => {
    for (const act of ['anchor', 'rotate'] as const) {
      for (let n = 1; n <= 6; n++) {
        for (const how of ['lost', 'persisted'] as const) {
          const { disk, identity } = await begun(`${act} ${n} ${how}`);
          disk.db.failAt(n, how);
          await codeOf(act === 'anchor' ? identity.anchor([]) : identity.rotate());
          disk.db.heal();
          await expectWhole(disk);
        }
      }
    }
  });

  it('are asked for before an own event is made', async () => {
    const { identity } = await begun('asked');
    const { said } = identity.state;
    identity.compareWith(() => Promise.reject(Object.assign(new Error('no'), { code: 'BEHIND' })));
    for (const task of [() => identity.anchor([]), () => identity.rotate()])
      assert.equal(await codeOf(task()), 'BEHIND');
    assert.equal(identity.state.said, said);
  });
});
