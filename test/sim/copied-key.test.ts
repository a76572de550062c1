/** A member names another's WireGuard key, before the other's own record arrives: it costs nobody a tunnel for good. */
import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import { differences, summary } from '../support/simulation/simulated-invariants.ts';

let federation: SimulatedFederation | undefined;

afterEach(() => federation?.abandon());

/** Long enough for a change that waits its time, and the catching up after it. */
const PATIENCE_MS = 3_600_000;

async function threeOf(seed: string) {
  const created = await SimulatedFederation.create({ seed, size: 3 });
  federation = created;
  await created.found();
  await created.admit(created.agents.slice(1));
  await settled(created);
  return created;
}

const settled = (of: SimulatedFederation) =>
  of.until(
    () => differences(of, of.agents).length === 0,
    PATIENCE_MS,
    () => summary(differences(of, of.agents)),
    1_000,
  );

const newestOf = (agent: SimulatedAgent) => agent.running.ownKeys.current.record;

/** Own tunnel keys, complete but for the WireGuard key, which is that of `victim`. */
async function copyKey(copier: SimulatedAgent, victim: SimulatedAgent): Promise<void> {
  const { identity, issuer, drivers } = copier.organisation;
  const { establishment } = identity.state;
  const epoch = newestOf(copier).e + 1;
  const { mlKem } = await identity.tunnelSecrets(establishment.said, epoch);
  await issuer.issueSealed([
    {
      type: 'tun',
      fields: {
        e: epoch,
        es: { s: establishment.sn, d: establishment.said },
        wg: newestOf(victim).wg,
        kem: { 'ml-kem-1024': drivers.suite.mlKem1024.publicKey(mlKem.expose()) },
        nb: newestOf(victim).nb,
        na: newestOf(victim).na,
      },
    },
  ]);
  await copier.running.ownKeys.ensureCurrent();
  assert.deepEqual(newestOf(copier).wg, newestOf(victim).wg);
}

describe('a WireGuard key that a member names before the one who holds it', function () {
  this.timeout(240_000);

  for (const seed of ['copied one', 'copied two', 'copied three']) {
    it(`is the holder's as soon as it shakes hands, and the copier's tunnel comes back with a key of its own (${seed})`, async () => {
      const created = await threeOf(seed);
      const [bob, alice, eve] = created.agents as [SimulatedAgent, SimulatedAgent, SimulatedAgent];
      created.partition([[alice], [bob, eve]]);
      await created.clock.run(alice.running.rotateTunnelKeys());
      await created.clock.run(copyKey(eve, alice));
      const copied = newestOf(eve).d;
      await created.until(
        () => bob.organisation.records.get(copied) !== undefined,
        600_000,
        () => "the copier's record has arrived first",
      );
      await created.clock.advance(120_000);
      created.heal();
      const isUp = () => bob.running.tunnels.activeView(alice.aid)?.peer === newestOf(alice).d;
      await created.until(isUp, PATIENCE_MS, () => 'the tunnel of the holder is on its key');
      assert.equal(created.tunnels.passage(bob.name, alice.name), 'passes');
      assert.equal(created.tunnels.passage(alice.name, bob.name), 'passes');
      assert.notEqual(bob.running.tunnels.activeView(eve.aid)?.peer, copied);
      await created.clock.run(eve.running.rotateTunnelKeys());
      const isBack = () =>
        bob.running.tunnels.activeView(eve.aid)?.peer === newestOf(eve).d &&
        created.tunnels.passage(eve.name, bob.name) === 'passes';
      await created.until(isBack, PATIENCE_MS, () => "the copier's tunnel is back");
    });
  }
});
