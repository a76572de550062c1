import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { verifyEndpoints, verifyStranger } from '#agent/mesh/sync/binding';
import type { PeerKey } from '#agent/network/network';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import {
  createParty,
  endFields,
  giveLog,
  openParty,
  verifySignature,
} from '../../../../support/kit/party.ts';

const peer = '12D3KooWGRUVhYDu3nEjcPz8mGZVZ9xHBi1vPWGPWnS4cW9VsHGF' as PeerKey;
const other = '12D3KooWSBqo5Xh9Zd6LpBXTjEiTUUYb5yM2yVe1tEqTQ3SaTU6d' as PeerKey;
const notBound = { code: 'SYNC_NOT_BOUND' };

async function world(name: string) {
  const alice = await createParty(`${name} alice`);
  const bob = await createParty(`${name} bob`, alice.clock);
  await giveLog(alice, bob);
  const bind = (message: Uint8Array, from: PeerKey = peer, aid = alice.identity.aid) =>
    verifyEndpoints(
      { kel: bob.kel, clock: bob.clock, time: bob.clock, verifySignature },
      aid,
      from,
      message,
      (...args) => bob.kel.establishment(...args),
    );
  const headOf = () => ({ aid: alice.identity.aid, sn: 0, said: alice.identity.state.said });
  const knock = (log: Uint8Array, message: Uint8Array, from: PeerKey = peer, head = headOf()) =>
    verifyStranger(
      { clock: bob.clock, time: bob.clock, verifySignature },
      head,
      from,
      log,
      message,
    );
  return { alice, bob, bind, knock };
}

describe('binding of a network peer to an AID', () => {
  it('holds with the record of that AID that names that peer', async () => {
    const { alice, bind } = await world('good');
    const record = await bind((await alice.identity.record('end', endFields(alice, peer))).message);
    assert.equal(record.p, peer);
  });

  it('is refused for another peer, though the record is genuine', async () => {
    const { alice, bind } = await world('peer');
    const { message } = await alice.identity.record('end', endFields(alice, peer));
    await assert.rejects(bind(message, other), notBound);
  });

  it('is refused with the record of another AID', async () => {
    const { alice, bob, bind } = await world('aid');
    const { message } = await bob.identity.record('end', endFields(bob, peer));
    await assert.rejects(bind(message), notBound);
    await assert.rejects(
      bind(
        (await alice.identity.record('end', endFields(alice, peer))).message,
        peer,
        bob.identity.aid,
      ),
      notBound,
    );
  });

  it('is refused with a record of another type', async () => {
    const { alice, bind } = await world('type');
    const { message } = await alice.identity.record('rvk', {
      k: 'node',
      who: peer,
      from: '2026-01-01T00:00:00.000000+00:00',
      why: '',
    });
    await assert.rejects(bind(message), notBound);
  });

  it('is refused with an old record, and with one of the future', async () => {
    const { alice, bind } = await world('age');
    const { message } = await alice.identity.record('end', endFields(alice, peer));
    await alice.clock.advance(47 * 3_600_000);
    await bind(message);
    await alice.clock.advance(2 * 3_600_000);
    await assert.rejects(bind(message), notBound);
    const ahead = { ...alice.disk, clock: { now: () => alice.clock.now() + 600_000 } as never };
    const future = await (await openParty(ahead)).identity.record('end', endFields(alice, peer));
    await assert.rejects(bind(future.message), notBound);
  });

  it('is refused under a key that was rotated away, however fresh the record', async () => {
    const { alice, bob, bind } = await world('rotated');
    const stolen = alice.identity;
    const { bytes } = buildRecord('end', {
      aid: stolen.aid,
      salt: new Uint8Array(16),
      dt: '2026-01-01T00:00:01.000000+00:00',
      fields: endFields(alice, peer),
    });
    const message = encodeSignedRecord(bytes, [await stolen.signerGroup(bytes)]);
    await bind(message);
    await alice.identity.rotate();
    await bind(message);
    await giveLog(alice, bob);
    await assert.rejects(bind(message), notBound);
    await bind((await alice.identity.record('end', endFields(alice, peer))).message);
  });

  it('is refused when the record names another establishment event than the one it is signed under', async () => {
    const { alice, bob, bind } = await world('named');
    const fields = endFields(alice, peer);
    await alice.identity.rotate();
    await giveLog(alice, bob);
    await assert.rejects(bind((await alice.identity.record('end', fields)).message), notBound);
  });

  it('is refused when a byte was changed, and with noise', async () => {
    const { alice, bind } = await world('noise');
    const { message } = await alice.identity.record('end', endFields(alice, peer));
    for (let at = 0; at < message.length; at += 11) {
      const changed = message.slice();
      changed[at] = (changed[at] ?? 0) ^ 4;
      await assert.rejects(bind(changed), notBound);
    }
    await assert.rejects(bind(new Uint8Array(0)), notBound);
    await assert.rejects(bind(new Uint8Array(70_000)), notBound);
  });

  describe('of a stranger', () => {
    it('needs the log with it, and touches no store', async () => {
      const { alice, knock } = await world('stranger');
      await alice.identity.rotate();
      const log = await alice.kel.export(alice.identity.aid);
      const { message } = await alice.identity.record('end', endFields(alice, peer));
      assert.equal((await knock(log, message)).i, alice.identity.aid);
      await assert.rejects(knock(new Uint8Array(0), message), notBound);
      await assert.rejects(knock(await alice.kel.export(alice.identity.aid, 1), message), notBound);
      await assert.rejects(knock(log, message, other), notBound);
      await assert.rejects(knock(new Uint8Array(60_000).fill(0x7b), message), notBound);
    });

    it('is refused with the log of another, or with two logs', async () => {
      const { alice, bob, knock } = await world('logs');
      const { message } = await alice.identity.record('end', endFields(alice, peer));
      const log = await alice.kel.export(alice.identity.aid);
      const second = await bob.kel.export(bob.identity.aid);
      await assert.rejects(knock(second, message), notBound);
      await assert.rejects(knock(Buffer.concat([log, second]), message), notBound);
    });

    it('is refused under a key that the log has rotated away', async () => {
      const { alice, knock } = await world('stale');
      const { message } = await alice.identity.record('end', endFields(alice, peer));
      await knock(await alice.kel.export(alice.identity.aid), message);
      await alice.identity.rotate();
      await assert.rejects(knock(await alice.kel.export(alice.identity.aid), message), notBound);
    });
  });
});
