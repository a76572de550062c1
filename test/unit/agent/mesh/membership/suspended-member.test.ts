import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { PeerAddress } from '#agent/network/network';
import { buildInteraction } from '#kel/event/interaction';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { createParty, giveLog, type Party } from '../../../../support/kit/party.ts';

/** Two events that `party` signs for one place after a rotation, which its own log never sees. */
async function fork({ identity }: Party): Promise<Uint8Array> {
  await identity.rotate();
  const pair = [[], [new Map([['d', 'x']])]].map((anchors) =>
    buildInteraction({ prior: identity.state, anchors }),
  );
  const messages: Uint8Array[] = [];
  for (const { bytes } of pair) messages.push(encodeSignedEvent(bytes, await identity.sign(bytes)));
  return Buffer.concat(messages);
}

async function charterOf(party: Party, from: Party): Promise<void> {
  await giveLog(from, party);
  for (const { message } of from.records.list('chr'))
    await party.intake.take(message, (type, issuer) => party.membership.mayIssue(type, issuer));
  await party.membership.refresh();
}

describe('a member whose log has forked', () => {
  it('is no member in good standing, though the charter names it, until that is resolved', async () => {
    const governor = await createParty('governor');
    const member = await createParty('member', governor.clock);
    const { membership, governing, kel, suspensions } = governor;
    await governing.create({ name: 'mesh', memberName: 'alpha', epochSeconds: 3_600 });
    await governing.admit(member.identity.aid, 'beta');
    const { aid } = member.identity;
    const pair = await fork(member);
    await giveLog(member, governor);
    assert.equal(membership.maySync(aid), true);
    let told = 0;
    membership.subscribe(() => {
      told += 1;
    });
    await kel.process(pair);
    assert.equal(told, 1);
    assert.equal(membership.suspensionOf(aid)?.sn, 2);
    assert.deepEqual(membership.others(), []);
    assert.equal(membership.maySync(aid), false);
    assert.equal(membership.mayIssue('tun', aid), false);
    assert.equal(membership.names(aid), true);
    assert.ok(membership.known().has(aid), 'its log is still wanted');
    await suspensions.resolve(aid, 'explained');
    assert.equal(told, 2);
    assert.deepEqual(
      membership.others().map((other) => other.aid),
      [aid],
    );
    assert.equal(membership.mayIssue('tun', aid), true);
  });

  it('brings no new charter when it governs, and the one in force stays', async () => {
    const governor = await createParty('governor');
    const member = await createParty('member', governor.clock);
    await governor.governing.create({ name: 'mesh', memberName: 'alpha', epochSeconds: 3_600 });
    await governor.governing.admit(member.identity.aid, 'beta');
    await member.governing.join({
      mesh: governor.membership.mesh as never,
      governor: governor.identity.aid,
      addresses: ['/ip4/192.0.2.1/tcp/7400' as PeerAddress],
    });
    await charterOf(member, governor);
    const version = member.membership.charter?.version;
    assert.equal(member.membership.isIn, true);
    const pair = await fork(governor);
    await giveLog(governor, member);
    await member.kel.process(pair);
    assert.equal(member.membership.isIn, true);
    assert.equal(member.membership.mayIssue('chr', governor.identity.aid), false);
    assert.equal(member.membership.mayIssue('rvk', governor.identity.aid), false);
    assert.equal(member.membership.charter?.version, version);
  });

  it('still rules over its own records', async () => {
    const party = await createParty('own');
    const { membership, governing, kel, identity, suspensions } = party;
    await governing.create({ name: 'mesh', memberName: 'alpha', epochSeconds: 3_600 });
    await kel.process(await fork(party));
    assert.ok(suspensions.of(identity.aid) !== undefined, 'its operator is told');
    assert.equal(membership.isIn, true);
    assert.equal(membership.mayIssue('tun', identity.aid), true);
  });
});
