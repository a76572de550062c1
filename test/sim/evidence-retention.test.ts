/** Evidence does not age: after more rotations than any window of the record store holds, every record that a leaf names is exported. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'mocha';
import { exportEvidence } from '#agent/control/export';
import { decodeBundle, decodeDossier } from '#agent/evidence/format/bundle';
import { openedValues, parseLeaf } from '#agent/evidence/format/leaf';
import { recordsNamedBy } from '#agent/evidence/format/named-records';
import { decodeLeaves, decodeRecords } from '#agent/evidence/format/sections';
import { parseRecord } from '#kel/record/parse';
import { type SimulatedAgent, SimulatedFederation } from '../support/simulation/simulated-agent.ts';
import { differences, summary } from '../support/simulation/simulated-invariants.ts';

/** The store keeps 16 `tun` records of one AID in its window. */
const ROTATIONS = 20;

describe('evidence of a federation that rotates its tunnel keys again and again', function () {
  this.timeout(240_000);
  let federation: SimulatedFederation;

  before(async () => {
    federation = await SimulatedFederation.create({ seed: 'evidence does not age', size: 2 });
    federation.world.setDelay(2, 20);
    await federation.found();
    await federation.admit(federation.agents.slice(1));
    await settled();
  });

  after(() => federation.abandon());

  const settled = () =>
    federation.until(
      () => differences(federation, federation.agents).length === 0,
      900_000,
      () => summary(differences(federation, federation.agents)),
      1_000,
    );

  it('holds every record that one of its leaves names, at both ends', async () => {
    const [one, other] = federation.agents as [SimulatedAgent, SimulatedAgent];
    for (let n = 0; n < ROTATIONS; n++) {
      await federation.clock.run(one.running.rotateTunnelKeys());
      await settled();
    }
    await federation.clock.run(other.running.rotateTunnelKeys());
    await settled();
    for (const agent of federation.agents) {
      const bundle = await federation.clock.run(exportEvidence(agent.organisation));
      const [dossier] = decodeBundle(bundle);
      const { sections } = decodeDossier(dossier as Uint8Array);
      const held = new Set(
        decodeRecords(sections.records).map((message) => parseRecord(message).record.d),
      );
      let names = 0;
      for (const { leaf, openings } of decodeLeaves(sections.leaves)) {
        const { type } = parseLeaf(leaf);
        const values = openedValues(type, openings);
        assert.ok(values !== undefined);
        for (const said of recordsNamedBy(type, values)) {
          assert.ok(held.has(said), `${agent.name}: a ${type} leaf names ${said}`);
          names += 1;
        }
      }
      assert.ok(names > 3 * ROTATIONS);
    }
  });
});
