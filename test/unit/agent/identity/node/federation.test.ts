/** A mesh of an organisation, its node, and another organisation, on virtual time. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { codeOf } from '../../../../support/kit/party.ts';
import {
  type SimulatedAgent,
  SimulatedFederation,
} from '../../../../support/simulation/simulated-agent.ts';

let federation: SimulatedFederation | undefined;

afterEach(() => federation?.abandon());

/** The governor, an organisation that has a node, and the node; all are members. */
async function withNode(seed: string) {
  const created = await SimulatedFederation.create({
    seed,
    size: 3,
    nodeOf: (n) => (n === 2 ? 1 : undefined),
  });
  federation = created;
  await created.found();
  const [governor, organisation, node] = created.agents as [
    SimulatedAgent,
    SimulatedAgent,
    SimulatedAgent,
  ];
  return { federation: created, governor, organisation, node };
}

function isUp(agent: SimulatedAgent, other: SimulatedAgent): Promise<boolean> {
  return agent.running.tunnels
    .status()
    .then((all) =>
      all.some(
        ({ aid, view, agreed }) => aid === other.aid && view !== undefined && agreed !== undefined,
      ),
    );
}

describe('node in a mesh', function () {
  this.timeout(30_000);

  it('is followed up to its organisation by members that hold neither, and has tunnels of its own', async () => {
    const { federation, governor, organisation, node } = await withNode('followed');
    await federation.admit([node]);
    await federation.until(
      () => isUp(governor, node),
      300_000,
      () => 'the tunnel to the node is up',
    );
    const { kel } = governor.organisation;
    assert.equal(kel.state(node.aid)?.delegator, organisation.aid);
    assert.notEqual(kel.state(organisation.aid), undefined);
  });

  it('rotates when its organisation approves, asked over the network', async () => {
    const { federation, governor, organisation, node } = await withNode('rotates');
    await federation.admit([organisation, node]);
    await federation.until(
      async () => (await isUp(governor, node)) && (await isUp(organisation, node)),
      300_000,
      () => 'the tunnels are up',
    );
    const { identity } = node.organisation;
    assert.equal(
      await federation.clock.run(codeOf(node.running.rotate())),
      'IDENTITY_AWAITS_DELEGATOR',
    );
    const { desk } = organisation.organisation;
    const waiting = async () =>
      (await desk.list()).find(({ aid }) => aid === node.aid)?.request?.said ===
      identity.pending?.said;
    await federation.until(waiting, 60_000, () => 'the request has arrived', 1_000);
    assert.equal(identity.state.establishment.sn, 0);
    const request = desk.find(node.name);
    await federation.clock.run(desk.approve(request));
    await federation.until(
      () =>
        identity.pending === undefined &&
        governor.organisation.kel.state(node.aid)?.establishment.said === request.event.said,
      120_000,
      () => 'the rotation is known to all',
      1_000,
    );
    assert.deepEqual(
      (await desk.list()).map((entry) => entry.request),
      [undefined],
    );
  });
});
