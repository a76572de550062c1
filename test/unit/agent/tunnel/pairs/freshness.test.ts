import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ageMs, isDue } from '#agent/tunnel/pairs/freshness';

const HOUR = 3_600_000;
const MADE = { since: 5_000, steady: Date.UTC(2026, 5, 1) };

/** After `running` of monotonic time, with `shown` between the two times of day; `skewMs` of the other end. */
function due(running: number, shown: number, skewMs: number | undefined): boolean {
  const now = { monotonic: MADE.since + running, steady: MADE.steady + shown };
  return isDue(MADE, now, skewMs);
}

describe('the freshness of an agreement', () => {
  const rows: readonly [string, number, number, number | undefined, boolean][] = [
    ['just made', 0, 0, 0, false],
    ['a day old by both', 24 * HOUR, 24 * HOUR, 0, true],
    ['a day old by both, with nobody heard', 24 * HOUR, 24 * HOUR, undefined, true],
    ['nearly a day old', 24 * HOUR - 1, 24 * HOUR - 1, 0, false],
    ['a day old although the clock stood still', 24 * HOUR, 0, 0, true],
    ['a day old although the clock is two behind', 24 * HOUR, -48 * HOUR, -72 * HOUR, true],
    ['made before a start, a day old by a clock that the other end shares', 0, 24 * HOUR, 0, true],
    ['made before a start by a clock that was ahead', 0, -24 * HOUR, 1_000, true],
    ['made before a start, the other end not heard', 0, 48 * HOUR, undefined, false],
    ['made before a start, the other end shows another time', 0, 48 * HOUR, -48 * HOUR, false],
    ['the same behind', 0, -48 * HOUR, 48 * HOUR, false],
    ['the same after an hour: no start postpones it for ever', HOUR, 48 * HOUR, 48 * HOUR, true],
  ];
  for (const [name, running, shown, skewMs, expected] of rows)
    it(`is ${expected ? 'past' : 'there'}: ${name}`, () => {
      assert.equal(due(running, shown, skewMs), expected);
    });

  it('ends for every clock and every other end after a day that it ran', () => {
    for (const shown of [-1e12, -48 * HOUR, 0, 48 * HOUR, 1e12])
      for (const skew of [undefined, 0, -48 * HOUR, 48 * HOUR])
        assert.ok(due(24 * HOUR, shown, skew));
  });

  it('is told by the longer of two ages', () => {
    assert.equal(ageMs(MADE, { monotonic: 7_000, steady: MADE.steady }), 2_000);
    assert.equal(ageMs(MADE, { monotonic: 7_000, steady: MADE.steady - 9_000 }), 9_000);
  });
});
