import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { buildInteraction } from '#kel/event/interaction';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import {
  differences,
  SimulatedInvariants,
  summary,
} from '../support/simulation/simulated-invariants.ts';

const NAMES = 4;

async function meshed(federation: SimulatedFederation): Promise<void> {
  await federation.until(
    () => differences(federation, federation.agents).length === 0,
    900_000,
    () => summary(differences(federation, federation.agents)),
  );
}

/** Whether `agent` has a peer of `other` on a device. */
function hasTunnel(
  federation: SimulatedFederation,
  agent: SimulatedAgent,
  other: SimulatedAgent,
): boolean {
  const keys = new Set(federation.tunnels.devicesOf(other.name).map(({ publicKey }) => publicKey));
  return federation.tunnels
    .devicesOf(agent.name)
    .some(({ peers }) => [...peers.keys()].some((key) => keys.has(key)));
}

/** What somebody who has the keys of `agent` signs beside its own next event. */
async function contradiction(
  federation: SimulatedFederation,
  agent: SimulatedAgent,
): Promise<Uint8Array> {
  const { identity, keeper } = agent.organisation;
  const event = buildInteraction({
    prior: identity.state,
    anchors: [digestSeal(identity.state.said)],
  });
  const { sn } = identity.state;
  const signatures = await federation.perform(identity.sign(event.bytes));
  await keeper.record('gap', { reason: 'something to anchor' });
  await federation.perform(keeper.anchor());
  assert.equal(identity.state.sn, sn + 1);
  return encodeSignedEvent(event.bytes, signatures);
}

describe('A member whose log forks', () => {
  it('loses its tunnels at all members, and gets them back when each has resolved it', async function () {
    this.timeout(60_000);
    const federation = await SimulatedFederation.create({ seed: 'fork', size: NAMES });
    const invariants = new SimulatedInvariants(federation);
    const [governor, witness, other, forked] = federation.agents as [
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
      SimulatedAgent,
    ];
    const honest = [governor, witness, other];
    await federation.found();
    await federation.admit(federation.agents.slice(1));
    await meshed(federation);
    const message = await contradiction(federation, forked);
    await meshed(federation);

    // One member sees it; the others and the member itself hear of it from members.
    const outcomes = await federation.perform(witness.organisation.kel.process(message));
    assert.equal(outcomes[0]?.code, 'KEL_DUPLICITOUS');
    const suspended = (agent: SimulatedAgent) =>
      agent.organisation.membership.suspensionOf(forked.aid) !== undefined;
    const tookMs = await federation.until(
      () => honest.every((agent) => suspended(agent) && !hasTunnel(federation, agent, forked)),
      60_000,
      () =>
        honest
          .map(
            (agent) => `${agent.name} ${suspended(agent)} ${hasTunnel(federation, agent, forked)}`,
          )
          .join(', '),
      500,
    );
    assert.ok(tookMs <= 10_000, `${tookMs} ms`);
    await federation.until(
      () => forked.organisation.suspensions.of(forked.aid) !== undefined,
      120_000,
      () => 'the forked member has not heard of it',
    );
    for (const agent of honest) assert.deepEqual(agent.organisation.suspensions.unrecorded(), []);

    // It stays so, also for one that starts again.
    governor.crash();
    await governor.start();
    await federation.clock.advance(300_000);
    for (const agent of honest) {
      assert.ok(!hasTunnel(federation, agent, forked), agent.name);
      assert.equal(agent.running.directory.peerOf(forked.aid), undefined);
      assert.deepEqual(agent.running.sync.knocks.list(), []);
      for (const peer of honest) if (peer !== agent) assert.ok(hasTunnel(federation, agent, peer));
    }
    invariants.assertHeld();

    // Its log still arrives: the way back is a rotation.
    await federation.perform(forked.running.rotate());
    await federation.until(
      () =>
        honest.every(
          (agent) =>
            agent.organisation.kel.state(forked.aid)?.said ===
            forked.organisation.identity.state.said,
        ),
      300_000,
      () => 'the rotation of the suspended member has not arrived',
    );
    for (const agent of honest) {
      assert.ok(suspended(agent));
      await federation.perform(
        agent.organisation.suspensions.resolve(forked.aid, 'they explained'),
      );
    }
    await meshed(federation);
    invariants.assertHeld();
    // What the lost keys signed comes again, and is known.
    await federation.perform(other.organisation.kel.process(message));
    assert.ok(!suspended(other));
    federation.abandon();
  });
});
