/** The wall clock of a machine is set, forward or back, while agents run on it: whoever can do that must not get more than wrong times. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, it } from 'mocha';
import { type LiveAgent, LiveAgents, until } from './support/live-agents.ts';

const HOUR_MS = 3_600_000;
/** Of a connection; the default is 100 times as long. */
const LIVENESS = { lookMs: 100, answerMs: 5_000 };

const realNow = Date.now;

afterEach(() => {
  Date.now = realNow;
});

/** Of the whole process: the libraries read it too. */
function setClock(aheadMs: number): void {
  Date.now = () => realNow() + aheadMs;
}

describe('a wall clock that is set by an hour or two, either way', () => {
  it('ends no connection, neither at once nor later, and stops no gossip, no session and no stream', async function () {
    this.timeout(180_000);
    await using mesh = await LiveAgents.mesh({
      names: ['governor', 'member', 'third'],
      limits: { liveness: LIVENESS },
    });
    const [governor, member, third] = mesh.agents as [LiveAgent, LiveAgent, LiveAgent];
    const lost: string[] = [];
    for (const { name, running } of mesh.agents)
      running.network.listen({
        connected: () => undefined,
        disconnected: (peer) => lost.push(`${name} ${peer}`),
      });
    // libp2p's own monitor, which is not used, would have looked once before and once after.
    await sleep(11_000);
    for (const aheadMs of [-HOUR_MS, 0, 2 * HOUR_MS, 0, -24 * HOUR_MS]) {
      setClock(aheadMs);
      // Several looks at each connection, and one at the clock.
      await sleep(aheadMs === -HOUR_MS ? 22_000 : 3_000);
      const { sn } = member.organisation.identity.state;
      await member.running.rotate();
      for (const other of [governor, third])
        await until(
          `${other.name} hears of the rotation at ${aheadMs} ms`,
          () => (other.organisation.kel.state(member.aid)?.sn ?? 0) > sn,
        );
      assert.deepEqual(lost, [], `at ${aheadMs} ms`);
    }
    for (const agent of mesh.agents) {
      assert.equal(agent.running.gossip.counters.refused, 0);
      assert.equal(agent.events('clock.stepped').length, 5, 'and its operator is told');
    }
  });
});
