/** What an operator takes back while agents run: a join, a governor; and what stays for ever. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { revokeNode } from '#agent/control/revoke';
import { parseInvite } from '#agent/mesh/membership/invite';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { SimulatedFederation } from '../support/simulation/simulated-agent.ts';

describe('what an operator takes back', () => {
  let federation: SimulatedFederation;

  afterEach(() => federation?.abandon());

  it('a mesh joined by mistake is left, and another joined with the same identity, while the agent runs', async () => {
    federation = await SimulatedFederation.create({ seed: 'leave and join', size: 3 });
    const [governor, member, second] = federation.agents;
    assert.ok(governor && member && second);
    await federation.found([member]);
    await federation.admit([member]);
    const { membership, governing } = member.organisation;
    await federation.until(
      () => membership.isIn,
      300_000,
      () => 'it is in the first mesh',
    );
    const first = membership.mesh;
    await second.organisation.governing.create({
      name: 'other',
      memberName: second.name,
      epochSeconds: 120,
    });
    await second.start();
    const aid = member.aid;
    await federation.perform(governing.leave(true));
    await federation.until(
      async () => (await member.running.tunnels.status()).length === 0,
      60_000,
      () => 'no tunnel is left',
    );
    const line = second.organisation.governing.invite(second.running.network.addresses());
    await federation.perform(
      (async () => {
        await governing.join(parseInvite(line));
      })(),
    );
    const { knocks } = second.running.sync;
    await federation.until(
      () => knocks.get(aid) !== undefined,
      120_000,
      () => 'it knocks',
    );
    await federation.perform(second.organisation.governing.admit(aid, member.name));
    await federation.until(
      () => membership.isIn,
      120_000,
      () => 'it is in the second mesh',
    );
    const { mesh } = membership;
    assert.ok(mesh !== undefined && mesh !== first);
    // With the address of the new mesh, on the node record and for the proofs.
    const address = overlayAddress(mesh, aid);
    const announced = () => member.organisation.records.latest('nod', aid)?.record.ov[0];
    await federation.until(
      () => announced() === address,
      60_000,
      () => `it is ${announced()}`,
    );
    await federation.until(
      async () => (await second.running.tunnels.status())[0]?.agreed !== undefined,
      120_000,
      () => 'the two agree',
    );
  });

  it('a mesh that was left is joined again while its charter still has the member, and the tunnels come back, whichever end begins agreements', async () => {
    federation = await SimulatedFederation.create({ seed: 'leave and come back', size: 4 });
    const [governor, ...members] = federation.agents;
    assert.ok(governor !== undefined);
    await federation.found(members);
    await federation.admit(members);
    const passes = (name: string) => federation.tunnels.passage(governor.name, name) === 'passes';
    await federation.until(
      () => members.every(({ name }) => passes(name)),
      300_000,
      () => 'all tunnels are up',
    );
    const roles = new Set(members.map(({ aid }) => aid < governor.aid));
    assert.equal(roles.size, 2, 'members with lower and with higher AIDs than the governor');
    for (const member of members) {
      const { governing } = member.organisation;
      await federation.perform(governing.leave(true));
      await federation.until(
        () => !passes(member.name),
        60_000,
        () => 'its tunnel is gone',
      );
      const line = governor.organisation.governing.invite(governor.running.network.addresses());
      await federation.perform(governing.join(parseInvite(line)));
      await federation.until(
        () => passes(member.name),
        180_000,
        () => `${member.name} has its tunnel again`,
      );
    }
  });

  it('the governing goes over while agents run, and the next governor admits', async () => {
    federation = await SimulatedFederation.create({ seed: 'hand over', size: 3 });
    const [governor, member, newcomer] = federation.agents;
    assert.ok(governor && member && newcomer);
    await federation.found([member]);
    await federation.admit([member]);
    const follows = (version: number) => () =>
      [governor, member].every((it) => it.organisation.membership.charter?.version === version);
    await federation.until(follows(1), 300_000, () => 'both are in');
    await federation.perform(governor.organisation.governing.handOver(member.name));
    await federation.until(follows(2), 60_000, () => 'the offer is known');
    await federation.perform(member.organisation.governing.acceptGoverning());
    await federation.until(follows(3), 60_000, () => 'the acceptance is known');
    assert.equal(governor.organisation.membership.governor, member.aid);
    await newcomer.join();
    const { knocks } = member.running.sync;
    // The line of the former governor leads to it; it passes the knock on.
    await federation.until(
      () => knocks.get(newcomer.aid) !== undefined,
      120_000,
      () => 'a knock',
    );
    await federation.perform(member.organisation.governing.admit(newcomer.aid, newcomer.name));
    const { membership } = newcomer.organisation;
    await federation.until(
      () => membership.isIn,
      300_000,
      () => 'it is in',
    );
    assert.equal(membership.governor, member.aid);
  });

  it('a node that was revoked for ever is not admitted again, not even with --again', async () => {
    federation = await SimulatedFederation.create({
      seed: 'revoked node',
      size: 2,
      nodeOf: (n) => (n === 1 ? 0 : undefined),
    });
    const [governor, node] = federation.agents;
    assert.ok(governor && node);
    await federation.found([node]);
    await federation.admit([node]);
    const { membership, governing } = governor.organisation;
    await federation.until(
      () => node.organisation.membership.isIn,
      300_000,
      () => 'it is in',
    );
    await federation.perform(revokeNode(governor.organisation, node.name, 'stolen'));
    await federation.perform(governing.remove(node.name, 'stolen'));
    for (const again of [false, true])
      await assert.rejects(federation.perform(governing.admit(node.aid, 'again', { again })), {
        code: 'MESH_REVOKED',
      });
    assert.equal(membership.charter?.members.has(node.aid), false);
  });
}).timeout(60_000);
