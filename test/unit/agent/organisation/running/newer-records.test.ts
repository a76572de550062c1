import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { NewerRecords } from '#agent/organisation/running/newer-records';
import type { StoredRecord } from '#kel/record/record-store';
import { journalOf } from '#src/journal';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { lowAid } from '../../../../support/kit/record-samples.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

function world() {
  const clock = new SimulatedClock();
  const state = { isIn: true, version: 1 as 1 | 2, isNewer: false, failures: 0, rotations: 0 };
  const records = {
    list: () => [{ record: state.isNewer ? { x: {} } : {} }] as unknown as readonly StoredRecord[],
  };
  const stop = new AbortController();
  const newer = new NewerRecords({
    self: lowAid,
    membership: {
      get isIn() {
        return state.isIn;
      },
      get recordVersion() {
        return state.version;
      },
      others: () => new Array(8).fill({}),
    },
    records: records as never,
    rotateTunnelKeys: async () => {
      if (state.failures-- > 0) throw new Error('the witnesses are away');
      state.rotations += 1;
      state.isNewer = true;
    },
    clock,
    rng: new SeededRng('newer'),
    journal: journalOf(() => undefined),
    signal: stop.signal,
  });
  return { clock, state, newer, stop };
}

describe('newer records', () => {
  it('follow when the mesh has moved, once, and not before', async () => {
    const { clock, state, newer } = world();
    await newer.follow();
    assert.equal(state.rotations, 0);
    state.version = 2;
    await clock.run(Promise.all([newer.follow(), newer.follow()]));
    await newer.follow();
    assert.equal(state.rotations, 1);
  });

  it('follow nobody who is out of the mesh', async () => {
    const { state, newer } = world();
    Object.assign(state, { version: 2, isIn: false });
    await newer.follow();
    assert.equal(state.rotations, 0);
  });

  it('are tried again after a failure, until they are there or the agent stops', async () => {
    const { clock, state, newer } = world();
    Object.assign(state, { version: 2, failures: 3 });
    const before = clock.now();
    await clock.run(newer.follow());
    assert.equal(state.rotations, 1);
    assert.ok(clock.now() - before >= 3 * 60_000);
    const other = world();
    Object.assign(other.state, { version: 2, failures: Number.POSITIVE_INFINITY });
    const following = other.newer.follow();
    await other.clock.advance(90_000);
    other.stop.abort();
    await assert.rejects(following);
    assert.equal(other.state.rotations, 0);
  });
});
