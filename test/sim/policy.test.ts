/** The policy of the charter in a federation: both ends follow it at once, and nobody has a tunnel that it does not have. */
import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { readPolicy } from '#agent/mesh/membership/policy/policy-file';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';

async function founded(seed: string, size: number): Promise<SimulatedFederation> {
  const federation = await SimulatedFederation.create({ seed, size, epochSeconds: 3_600 });
  await federation.found();
  await federation.admit(federation.agents.slice(1));
  await federation.perform(federation.governor.organisation.governing.upgrade());
  return federation;
}

function policyOf(...lines: readonly string[]) {
  const reading = readPolicy(lines.join('\n'));
  assert.ok(reading.kind === 'rules', JSON.stringify(reading));
  return reading;
}

async function setPolicy(federation: SimulatedFederation, ...lines: readonly string[]) {
  const { governing, membership } = federation.governor.organisation;
  const said = membership.charter?.said;
  assert.ok(said !== undefined);
  await federation.perform(governing.setPolicy(policyOf(...lines), said));
}

/** Names of pairs whose tunnel is up at both ends. */
function tunnelsOf({ agents }: SimulatedFederation): readonly string[] {
  const isUp = (a: SimulatedAgent, b: SimulatedAgent) => {
    const view = a.running.tunnels.activeView(b.aid);
    return view !== undefined && a.running.agreements.agreed(b.aid, view) !== undefined;
  };
  return agents.flatMap((a, n) =>
    agents.slice(n + 1).flatMap((b) => {
      const up = [isUp(a, b), isUp(b, a)];
      return up[0] && up[1]
        ? [`${a.name} ${b.name}`]
        : up[0] || up[1]
          ? [`half ${a.name} ${b.name}`]
          : [];
    }),
  );
}

async function settled(federation: SimulatedFederation, expected: readonly string[]) {
  await federation.until(
    () => tunnelsOf(federation).join() === expected.join(),
    900_000,
    () => `expected ${expected.join()}, is ${tunnelsOf(federation).join()}`,
  );
}

/** Each agent has as many peers on its devices, all devices together: former keys drain for a while. */
async function peersOnDevices(
  federation: SimulatedFederation,
  agents: readonly SimulatedAgent[],
  expected: readonly number[],
) {
  const counts = () =>
    agents.map(({ name }) =>
      federation.tunnels.devicesOf(name).reduce((sum, { peers }) => sum + peers.size, 0),
    );
  await federation.until(
    () => counts().join() === expected.join(),
    900_000,
    () => `expected ${expected.join()} peers, are ${counts().join()}`,
  );
}

/** Prefixes that the devices of an agent take from any peer. */
function allowedAt(federation: SimulatedFederation, { name }: SimulatedAgent): readonly string[] {
  return federation.tunnels.devicesOf(name).flatMap(({ owners }) => [...owners.keys()]);
}

const ALL = ['m00 m01', 'm00 m02', 'm00 m03', 'm01 m02', 'm01 m03', 'm02 m03'];

describe('Policy in a simulated federation', function () {
  this.timeout(600_000);

  it('of a hub leaves its tunnels alone and takes the others down, on devices too, and gives them back', async () => {
    const federation = await founded('hub', 4);
    await settled(federation, ALL);
    await setPolicy(federation, 'topology = "hub:m01"');
    await settled(federation, ['m00 m01', 'm01 m02', 'm01 m03']);
    await peersOnDevices(federation, federation.agents, [1, 3, 1, 1]);
    const [m00, , m02] = federation.agents as [SimulatedAgent, SimulatedAgent, SimulatedAgent];
    const edge = (await m00.running.tunnels.status()).find(({ aid }) => aid === m02.aid)?.edge;
    assert.equal(edge?.kind, 'closed');
    // A restart comes to the same, and so does a member that was away.
    m02.crash();
    await setPolicy(federation, 'topology = "full"');
    await federation.clock.advance(30_000);
    await m02.start();
    await settled(federation, ALL);
    federation.abandon();
  });

  it('keeps an edge down whose requirement nobody can meet, at both ends, and brings it up when it is met', async () => {
    const federation = await founded('lacking', 3);
    await settled(federation, ['m00 m01', 'm00 m02', 'm01 m02']);
    const required = 'required = ["ml-kem-1024", "x25519", "qkd:north"]';
    await setPolicy(federation, '[[edge]]', 'between = ["name:m01", "name:m02"]', required);
    await settled(federation, ['m00 m01', 'm00 m02']);
    const [, m01, m02] = federation.agents as [SimulatedAgent, SimulatedAgent, SimulatedAgent];
    for (const [own, other] of [
      [m01, m02],
      [m02, m01],
    ] as const) {
      const edge = (await own.running.tunnels.status()).find(({ aid }) => aid === other.aid)?.edge;
      assert.deepEqual(edge, { kind: 'lacking', lacking: ['qkd:north'] });
      await peersOnDevices(federation, [own], [1]);
    }
    // The rule goes with the name: a member that is renamed keeps what was said of it.
    const { governing } = federation.governor.organisation;
    await federation.perform(governing.rename('m02', 'other'));
    await federation.clock.advance(60_000);
    assert.deepEqual(tunnelsOf(federation), ['m00 m01', 'm00 m02']);
    await setPolicy(federation, '[[edge]]', 'between = ["name:m01", "name:other"]');
    await settled(federation, ['m00 m01', 'm00 m02', 'm01 m02']);
    federation.abandon();
  });

  it('is refused where it contradicts itself, names nobody, or was compared with another charter', async () => {
    const federation = await founded('refused', 2);
    await settled(federation, ['m00 m01']);
    const { governing, membership } = federation.governor.organisation;
    const said = membership.charter?.said;
    assert.ok(said !== undefined);
    const table = [
      ['[[edge]]\nbetween = ["*", "*"]\nrefused = ["x25519"]', said, 'MESH_BAD_POLICY'],
      ['[[edge]]\nbetween = ["name:nobody", "*"]', said, 'MESH_BAD_POLICY'],
      ['topology = "hub:nobody"', said, 'MESH_BAD_POLICY'],
      ['[[edge]]\nbetween = ["*", "*"]\noffered = ["broker:north"]', said, 'MESH_BAD_POLICY'],
      ['topology = "regions"', membership.mesh, 'MESH_POLICY_MOVED'],
    ] as const;
    for (const [text, seen, code] of table)
      await assert.rejects(
        federation.perform(governing.setPolicy(policyOf(text), seen as typeof said)),
        { code },
        text,
      );
    assert.equal(membership.charter?.said, said);
    const other = federation.agents[1] as SimulatedAgent;
    await assert.rejects(
      federation.perform(other.organisation.governing.setPolicy(policyOf(''), said)),
      { code: 'MESH_NOT_GOVERNOR' },
    );
    federation.abandon();
  });

  it('routes a prefix behind a member where the policy lets it and the member itself names it, and nowhere else', async () => {
    const federation = await founded('subnets', 3);
    const [m00, m01, m02] = federation.agents as [SimulatedAgent, SimulatedAgent, SimulatedAgent];
    const restart = async (agent: SimulatedAgent, rank: number, ...pre: readonly string[]) => {
      agent.settings = { ...agent.settings, gateway: { rank, pre } };
      agent.crash();
      await agent.start();
    };
    await restart(m01, 2, '10.1.0.0/16', '192.168.0.0/16');
    await restart(m02, 1, '10.1.0.0/16', '10.2.0.0/16');
    await settled(federation, ['m00 m01', 'm00 m02', 'm01 m02']);
    const routed = async (own: SimulatedAgent, other: SimulatedAgent) =>
      (await own.running.tunnels.status()).find(({ aid }) => aid === other.aid)?.subnets;
    const come = async (own: SimulatedAgent, other: SimulatedAgent, expected: readonly string[]) =>
      federation.until(
        async () => (await routed(own, other))?.join() === expected.join(),
        900_000,
        async () => `expected ${expected.join()}, is ${(await routed(own, other))?.join()}`,
      );
    assert.deepEqual(await routed(m00, m02), [], 'the policy lets none');
    const prefixes = 'prefixes = ["10.1.0.0/16", "10.2.0.0/16", "10.3.0.0/16"]';
    await setPolicy(federation, '[[edge]]', 'between = ["*", "*"]', prefixes);
    await come(m00, m02, ['10.1.0.0/16', '10.2.0.0/16']);
    await come(m00, m01, []);
    await come(m01, m02, ['10.2.0.0/16']);
    await come(m02, m01, []);
    await federation.until(
      () => allowedAt(federation, m00).includes('10.2.0.0/16'),
      60_000,
      () => allowedAt(federation, m00).join(),
    );
    assert.ok(!allowedAt(federation, m00).some((prefix) => /^(192|10\.3)/.test(prefix)));
    // The one with the lower rank names it no more: the other has it.
    await restart(m02, 1, '10.2.0.0/16');
    await come(m00, m01, ['10.1.0.0/16']);
    await come(m00, m02, ['10.2.0.0/16']);
    federation.abandon();
  });
});
