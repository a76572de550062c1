/** Worst time of every parser and evaluator that a stranger reaches: quadratic inputs of each kind, time against size in one run. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { doors, measure } from '../../bench/support/doors.ts';

const SIZES = [12_000, 48_000, 192_000];
/** The square of the size would be 2. What is left is for a machine that does other things at the same time. */
const MAX_EXPONENT = 1.5;
const ATTEMPTS = 4;
/** Below this at the largest size nothing grows that anybody could use, and the clock is what is measured. */
const LEAST_MS = 2;

describe('the worst case of every door', () => {
  for (const door of doors) {
    it(`grows with the size and not with its square, whatever the shape: ${door.name}`, async function () {
      this.timeout(120_000);
      for (const [name, shape] of Object.entries(door.shapes)) {
        let least = Number.POSITIVE_INFINITY;
        for (let attempt = 0; attempt < ATTEMPTS && !(least <= MAX_EXPONENT); attempt++) {
          const { exponent, ms } = await measure(door, shape, SIZES);
          const last = ms.findLast((taken) => taken !== 'refused') ?? 0;
          const isMeasured = !Number.isNaN(exponent) && last >= LEAST_MS;
          least = Math.min(least, isMeasured ? exponent : 0);
        }
        assert.ok(least <= MAX_EXPONENT, `${name}: exponent ${least.toFixed(2)}`);
      }
    });
  }

  it('has a bound at each door of the network: a size above it is not parsed at all', () => {
    const network = /gossip|stranger|node|witness|a frame|proof|query/;
    for (const { name, max } of doors.filter((door) => network.test(door.name)))
      assert.ok(max <= 1 << 20, name);
  });
});
