/** What a member's requests make another write for ever: a bound for each way, whatever the member asks for, however often. */
import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { after, before, beforeEach, describe, it } from 'mocha';
import type { LeafType } from '#agent/evidence/format/leaf';
import { parseLeaf } from '#agent/evidence/format/leaf';
import { TunnelProofs } from '#agent/tunnel/proof/tunnel-proofs';
import { PairRequests } from '#agent/tunnel/rotation/pair-requests';
import type { Said } from '#kel/identifiers';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import { Power } from '../support/simulation/simulated-files.ts';
import { differences, summary } from '../support/simulation/simulated-invariants.ts';

/** Requests in each attack: more than any burst. */
const REQUESTS = 400;
const PAUSE_MS = 600;

describe('what a member can make another write', function () {
  this.timeout(240_000);
  let federation: SimulatedFederation;
  let lower: SimulatedAgent;
  let higher: SimulatedAgent;

  before(async () => {
    federation = await SimulatedFederation.create({ seed: 'peer writes', size: 2 });
    await federation.found();
    await federation.admit(federation.agents.slice(1));
    const settled = () => differences(federation, federation.agents).length === 0;
    await federation.until(settled, 900_000, () =>
      summary(differences(federation, federation.agents)),
    );
    [lower, higher] = federation.agents.toSorted((a, b) => (a.aid < b.aid ? -1 : 1)) as [
      SimulatedAgent,
      SimulatedAgent,
    ];
  });

  beforeEach(() => federation.clock.advance(600_000));

  after(() => federation.abandon());

  async function leaves(agent: SimulatedAgent, type: LeafType): Promise<number> {
    const { provenance } = agent.organisation;
    let count = 0;
    for (let index = 0; index < provenance.log.size; index++)
      if (parseLeaf(await provenance.log.leaf(index)).type === type) count += 1;
    return count;
  }

  it('one proof of a tunnel under one agreement, however often it asks for another', async () => {
    const { organisation, running } = lower;
    const { identity, membership, kel, records, keeper, verifySignature, drivers } = organisation;
    const before = await leaves(higher, 'tunnel-up');
    for (let n = 0; n < REQUESTS; n++) {
      // A program of the member's own, that has forgotten each time what it has.
      const forgetful = new TunnelProofs({
        identity,
        membership,
        kel,
        records: {
          get: (said: Said) =>
            records.get(said)?.record.t === 'tup' ? undefined : records.get(said),
          list: () => [],
          put: async () => 'stored',
          retain: async () => undefined,
        } as unknown as typeof records,
        keeper: {
          checkpoint: () => keeper.checkpoint(),
          record: async () => undefined,
        } as unknown as typeof keeper,
        pairKeys: running.agreements,
        epochKeys: running.epochKeys,
        overlay: federation.overlay.driver(lower.name, new Power()),
        tunnels: running.tunnels,
        verifySignature,
        clock: drivers.clock,
        rng: drivers.rng,
        table: await StateTable.open(new MemoryLevel() as unknown as Database, 'proof'),
        journal: drivers.journal,
      });
      const stop = new AbortController();
      forgetful.start(stop.signal);
      forgetful.prove(higher.aid);
      await federation.clock.advance(PAUSE_MS);
      stop.abort();
      await forgetful.stop();
    }
    assert.equal((await leaves(higher, 'tunnel-up')) - before, 0);
  });

  it('a bounded number of agreements that it begins', async () => {
    const before = await leaves(higher, 'psk-agreed');
    for (let n = 0; n < REQUESTS; n++) {
      const view = lower.running.tunnels.activeView(higher.aid);
      assert.ok(view !== undefined);
      void lower.running.agreements.renew(higher.aid, view, 0).catch(() => undefined);
      await federation.clock.advance(PAUSE_MS);
    }
    const made = (await leaves(higher, 'psk-agreed')) - before;
    assert.ok(made > 16 && made < REQUESTS / 2, `${made} leaves`);
  });

  it('a bounded number of agreements that it has the other begin', async () => {
    await federation.clock.advance(6 * 3_600_000);
    const { running, organisation } = higher;
    const requests = new PairRequests({
      network: running.network,
      directory: running.directory,
      clock: organisation.drivers.clock,
    });
    const before = await leaves(lower, 'psk-agreed');
    for (let n = 0; n < REQUESTS; n++) {
      const view = running.tunnels.activeView(lower.aid);
      const th = view && running.agreements.agreed(lower.aid, view)?.th;
      if (view !== undefined && th !== undefined)
        void requests
          .ask(lower.aid, { kind: 'renew', own: view.own, peer: view.peer, th, epoch: 0 })
          .catch(() => undefined);
      await federation.clock.advance(PAUSE_MS);
    }
    const made = (await leaves(lower, 'psk-agreed')) - before;
    assert.ok(made > 16 && made < REQUESTS / 2, `${made} leaves`);
  });
});
