import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { eventTopic } from '#agent/mesh/sync/gossip';
import { MAX_KNOCKS } from '#agent/mesh/sync/knocks';
import type { Said } from '#kel/identifiers';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import {
  differences,
  SimulatedInvariants,
  summary,
} from '../support/simulation/simulated-invariants.ts';

async function settled(
  federation: SimulatedFederation,
  members: readonly SimulatedAgent[],
): Promise<void> {
  await federation.until(
    () => differences(federation, members).length === 0,
    900_000,
    () => summary(differences(federation, members)),
  );
}

/** Everything of an agent that a stranger must not move. */
function standing(
  { organisation, name }: SimulatedAgent,
  federation: SimulatedFederation,
): unknown {
  const { kel, membership, records } = organisation;
  return {
    aids: kel.aids(),
    states: kel.aids().map((aid) => kel.state(aid)?.said),
    charter: membership.charter?.said,
    records: records.list('tun').length + records.list('nod').length + records.list('chr').length,
    peers: federation.tunnels.devicesOf(name).map(({ peers }) => [...peers.keys()]),
  };
}

describe('Who comes late to a simulated federation', () => {
  it('catches up with what was rotated, admitted and removed before', async () => {
    const federation = await SimulatedFederation.create({ seed: 'late', size: 5 });
    const [governor, a, b, c, late] = federation.agents as [
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
    ];
    const invariants = new SimulatedInvariants(federation);
    await federation.found([a, b, c]);
    await federation.admit([a, b, c]);
    await settled(federation, [governor, a, b, c]);
    for (const agent of [governor, a]) {
      await federation.perform(agent.running.rotate());
      await federation.clock.advance(200_000);
    }
    await federation.perform(governor.organisation.governing.remove(b.name, 'left'));
    await late.join();
    await federation.admit([late]);
    await settled(federation, [governor, a, c, late]);
    assert.equal(
      late.organisation.membership.charters.length,
      governor.organisation.membership.charters.length,
    );
    assert.equal(b.organisation.membership.isIn, false);
    assert.deepEqual(
      federation.tunnels.devicesOf(b.name).flatMap(({ peers }) => [...peers.keys()]),
      [],
    );
    invariants.assertHeld();
    federation.abandon();
  });
});

describe('Strangers who flood a simulated federation', () => {
  it('change nothing, are bounded, and are counted', async function () {
    this.timeout(60_000);
    const strangers = 4;
    const federation = await SimulatedFederation.create({ seed: 'strangers', size: 3 + strangers });
    const members = federation.agents.slice(0, 3);
    const invariants = new SimulatedInvariants(federation);
    await federation.found(members.slice(1));
    await federation.admit(members.slice(1));
    await settled(federation, members);
    const before = members.map((member) => standing(member, federation));
    const counters = members.map(({ running }) => ({ ...running.gossip.counters }));

    // They knock, and are not admitted; on the topic of the mesh they publish their own logs and garbage.
    const topic = eventTopic(federation.governor.organisation.membership.mesh as Said);
    const rng = federation.rng.fork('flood');
    for (const stranger of federation.agents.slice(3)) await stranger.join();
    await federation.clock.advance(30_000);
    for (let round = 0; round < 200; round++) {
      for (const stranger of federation.agents.slice(3)) {
        const { network } = stranger.running;
        const own = await stranger.organisation.kel.export(stranger.aid, 0, 1);
        await network.publish(topic, round % 2 === 0 ? own : rng.bytes(1 + rng.int(4_096)));
      }
      await federation.clock.advance(100);
    }
    await federation.clock.advance(30_000);

    assert.deepEqual(
      members.map((member) => standing(member, federation)),
      before,
    );
    const governor = federation.governor.running;
    assert.ok(governor.sync.knocks.list().length > 0, 'the operator sees who knocks');
    assert.ok(governor.sync.knocks.list().length <= MAX_KNOCKS);
    const turnedAway = members.map(({ running }, n) => {
      const { stranger, refused } = running.gossip.counters;
      return stranger + refused - (counters[n]?.stranger ?? 0) - (counters[n]?.refused ?? 0);
    });
    assert.ok(
      turnedAway.some((count) => count > 0),
      `counted: ${turnedAway.join(', ')}`,
    );
    assert.ok(
      turnedAway.every((count) => count < 200 * strangers),
      'a peer that only sends what is refused is not listened to for ever',
    );
    assert.deepEqual(differences(federation, members), []);
    invariants.assertHeld();
    federation.abandon();
  });
});
