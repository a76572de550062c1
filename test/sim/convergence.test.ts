/**
 * Many worlds, each from its seed: whatever is lost, cut or killed, the members come to the same key states and
 * epochs, and no invariant breaks on the way. `KELMESH_SLOW=1` plays 100 worlds of 50 agents, else as many small
 * ones as fit into a time; `KELMESH_SEED=17` plays that one alone, `KELMESH_SEED=1-25` a part of them beside other
 * processes, `KELMESH_AGENTS=50` sets the size.
 */
import { strict as assert } from 'node:assert';
import { describe, it } from 'mocha';
import { runScenario, type ScenarioResult } from '../support/simulation/simulated-scenario.ts';

const isSlow = process.env['KELMESH_SLOW'] === '1';
const size = Number(process.env['KELMESH_AGENTS'] ?? (isSlow ? 50 : 10));
const [first = 1, last = first] = (process.env['KELMESH_SEED'] ?? (isSlow ? '1-100' : '1-12'))
  .split('-')
  .map(Number);
/** No new world is begun after this; not an assertion. */
const BUDGET_MS = isSlow ? Number.POSITIVE_INFINITY : 25_000;
const SMALL = 5;

function assertConverged({ members, removed, federation, checks }: ScenarioResult): void {
  // What the scenario waits for is in `differences`; this is what it does not look at.
  assert.equal(members.length, federation.agents.length - 1);
  assert.ok(checks > members.length, 'the invariants were looked at');
  const gone = new Set(
    federation.tunnels.devicesOf(removed.name).map(({ publicKey }) => publicKey),
  );
  for (const member of members) {
    for (const { peers } of federation.tunnels.devicesOf(member.name)) {
      for (const key of peers.keys()) {
        assert.ok(!gone.has(key), `${member.name} still has the one who was removed`);
      }
    }
  }
}

describe('A simulated federation', () => {
  it(`of ${size} agents comes to the same keys under loss, partition and crashes`, async function () {
    this.timeout(isSlow ? 0 : 600_000);
    const begun = Date.now();
    const seeds = Array.from({ length: last - first + 1 }, (_, n) => first + n);
    let played = 0;
    let slowest = 0;
    for (const seed of seeds) {
      if (Date.now() - begun > BUDGET_MS) break;
      const result = await runScenario(seed, size);
      assertConverged(result);
      played += 1;
      slowest = Math.max(slowest, result.convergedMs);
      if (isSlow)
        console.log(
          `      seed ${seed}: converged ${result.convergedMs / 1_000} s after the last trouble, ${result.checks} checks`,
        );
    }
    console.log(
      `      ${played} seeds of ${size} agents; the slowest converged ${slowest / 1_000} simulated seconds after the last trouble`,
    );
    assert.ok(played > 0);
  });

  it('plays the same world again from the same seed, and another from another', async function () {
    this.timeout(120_000);
    const digests: string[] = [];
    for (const seed of [1, 1, 2]) digests.push((await runScenario(seed, SMALL)).digest);
    assert.equal(digests[0], digests[1]);
    assert.notEqual(digests[0], digests[2]);
  });
});
