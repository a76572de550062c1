/** A mesh moves to records of version 2: the whole agent on virtual time, with a member that is not ready. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { statusJson } from '#agent/control/status';
import { upgradeVerbs } from '#agent/control/upgrade-verbs';
import type { RunningContext } from '#agent/control/verb';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import {
  differences,
  SimulatedInvariants,
  summary,
} from '../support/simulation/simulated-invariants.ts';

const SETTLE_MS = 900_000;

describe('a mesh that moves to records of version 2', function () {
  this.timeout(120_000);
  let federation: SimulatedFederation;
  let invariants: SimulatedInvariants;
  let agents: readonly [SimulatedAgent, SimulatedAgent, SimulatedAgent];

  before(async () => {
    federation = await SimulatedFederation.create({ seed: 'upgrade', size: 3 });
    invariants = new SimulatedInvariants(federation);
    agents = federation.agents as unknown as typeof agents;
    agents[2].speaksFirstAlone = true;
    await federation.found();
    await federation.admit(agents.slice(1));
    await settled();
  });

  after(() => federation.abandon());

  const settled = (members: readonly SimulatedAgent[] = agents) =>
    federation.until(
      () => differences(federation, members).length === 0,
      SETTLE_MS,
      () => summary(differences(federation, members)),
      1_000,
    );
  const contextOf = ({ organisation, running, name }: SimulatedAgent) =>
    ({
      organisation,
      agent: running,
      name,
      progress: () => undefined,
      stop: async () => undefined,
    }) as RunningContext;
  const readiness = async (agent: SimulatedAgent) => {
    const { members } = await upgradeVerbs['mesh.readiness'].call({}).run(contextOf(agent));
    return Object.fromEntries(members.map(({ name, state }) => [name, state]));
  };
  const upgrade = (agent: SimulatedAgent, without: readonly string[] = []) =>
    federation.perform(upgradeVerbs['mesh.upgrade'].call({ without }).run(contextOf(agent)));
  const isNewer = ({ organisation: { records }, aid }: SimulatedAgent) =>
    (['nod', 'tun', 'end'] as const).every((type) => records.latest(type, aid)?.record.x);
  const reasonOf = async (agent: SimulatedAgent, other: SimulatedAgent) => {
    const { peers } = await statusJson(agent.organisation, agent.running);
    return peers.find(({ aid }) => aid === other.aid);
  };

  it('does not while a member is not ready, and says who', async () => {
    const [governor, member, old] = agents;
    assert.deepEqual(await readiness(governor), { m01: 'ready', m02: 'old' });
    await assert.rejects(upgrade(member), { code: 'MESH_NOT_GOVERNOR' });
    await assert.rejects(upgrade(governor), { code: 'MESH_NOT_READY', message: /m02/ });
    member.crash();
    await federation.clock.advance(60_000);
    assert.deepEqual(await readiness(governor), { m01: 'unknown', m02: 'old' });
    await assert.rejects(upgrade(governor, [old.name]), {
      code: 'MESH_NOT_READY',
      message: /m01/,
    });
    await member.start();
    await federation.until(
      async () => (await readiness(governor))[member.name] === 'ready',
      SETTLE_MS,
      async () => JSON.stringify(await readiness(governor)),
    );
    await settled();
    assert.equal(governor.organisation.membership.recordVersion, 1);
    assert.ok(!agents.some(isNewer));
  });

  it('moves without the one that is left behind: all others write the newer records, and no tunnel of theirs is lost', async () => {
    const [governor, member, old] = agents;
    const { upgraded, recordVersion } = await upgrade(governor, [old.name]);
    assert.deepEqual([upgraded, recordVersion], [true, 2]);
    const movers = [governor, member];
    await federation.until(
      () => movers.every(isNewer),
      SETTLE_MS,
      () => movers.map((agent) => `${agent.name} ${isNewer(agent)}`).join(),
      1_000,
    );
    await federation.until(
      async () => (await reasonOf(governor, member))?.state === 'up',
      SETTLE_MS,
      () => 'their tunnel is not up',
      1_000,
    );
    for (const agent of movers) {
      const { records } = agent.organisation;
      for (const { aid } of movers)
        assert.equal(records.latest('tun', aid)?.record.x?.pop?.length, 64);
      assert.deepEqual(records.latest('nod', agent.aid)?.record.x?.cap, ['rec2']);
    }
    assert.equal(old.organisation.membership.recordVersion, 1);
    await assert.rejects(upgrade(governor), { code: 'MESH_UPGRADED' });
  });

  it('refuses with words who speaks the older protocols alone', async () => {
    const [governor, , old] = agents;
    const codes = async () => {
      const row = await reasonOf(governor, old);
      return [row?.state, row?.reasonCode ?? null, row?.change?.reasonCode ?? null].join();
    };
    // What stands goes on, and gets no newer keys; when its keys have gone, nothing comes in its place.
    await federation.until(async () => (await codes()) === 'up,,old-version', SETTLE_MS, codes);
    await federation.perform(governor.running.rotateTunnelKeys());
    await federation.until(async () => (await codes()) === 'down,old-version,', SETTLE_MS, codes);
  });

  it('takes back the one that was left behind, once its program is newer', async () => {
    const [governor, , old] = agents;
    old.crash();
    old.speaksFirstAlone = false;
    await old.start();
    await federation.until(
      () => isNewer(old),
      SETTLE_MS,
      () => 'it has not moved',
    );
    await federation.until(
      async () => (await reasonOf(governor, old))?.state === 'up',
      SETTLE_MS,
      async () => JSON.stringify(await reasonOf(governor, old)),
    );
    assert.deepEqual(await readiness(governor), { m01: 'ready', m02: 'ready' });
    await settled();
    invariants.assertHeld();
  });
});
