import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { ALONE_MS, isConfirmed, SLEW_MS, SteadyTime } from '#src/steady-time';

const START = Date.UTC(2026, 0, 1);

/** A machine whose clock and whose monotonic time are moved apart. */
function machine() {
  const state = { now: START, monotonic: 5_000.25, others: [] as number[] };
  const clock = { now: () => state.now, monotonic: () => state.monotonic };
  const time = new SteadyTime(clock, () => state.others);
  const pass = (ms: number) => {
    state.now += ms;
    state.monotonic += ms;
  };
  /** What others show whose clocks are ahead of the start of this machine by so much. */
  const hear = (...ahead: number[]) => {
    state.others = ahead.map((ms) => START - 5_000.25 + ms);
  };
  return { state, time, pass, hear };
}

describe('steady time', () => {
  it('goes with the clock while that is slewed', () => {
    const { state, time, pass } = machine();
    for (let n = 0; n < 20; n++) {
      pass(60_000);
      state.now += n % 2 === 0 ? SLEW_MS : -SLEW_MS + 100;
      assert.equal(time.now(), state.now);
      assert.equal(time.step, undefined);
    }
  });

  it('is moved by no step of the clock in either direction, however often, and says that there was one', () => {
    for (const byMs of [2_001, -2_001, 7_200_000, -3_600_000, 10 ** 12, -(10 ** 12)]) {
      const { state, time, pass } = machine();
      pass(1_000);
      assert.equal(time.now(), START + 1_000);
      state.now += byMs;
      pass(9_000);
      assert.equal(time.now(), START + 10_000);
      assert.deepEqual(time.step, { byMs, at: START + 10_000 });
      pass(20_000);
      state.now -= byMs;
      assert.equal(time.now(), START + 30_000);
      assert.equal(time.step, undefined);
    }
  });

  it('never runs backwards while the clock does anything and nobody confirms it', () => {
    const { state, time, pass, hear } = machine();
    hear(0, 0);
    let last = time.now();
    for (let n = 1; n < 500; n++) {
      pass((n * 7_919) % 30_000);
      state.now += ((n * 104_729) % 20_000_000) - 10_000_000;
      const now = time.now();
      // A slew back may come out between two looks.
      assert.ok(now >= last - SLEW_MS);
      last = now;
    }
    assert.ok(Math.abs(last - START - state.monotonic) < 500 * SLEW_MS);
  });

  it('follows a step that most of the others confirm, at once, and one without any others after a while', () => {
    const { state, time, pass, hear } = machine();
    hear(7_200_000, 7_200_500, 0);
    state.now += 7_200_000;
    pass(1_000);
    assert.equal(time.now(), state.now);
    const alone = machine();
    alone.state.now -= 3_600_000;
    assert.equal(alone.time.now(), START);
    alone.pass(ALONE_MS - 1);
    assert.equal(alone.time.now(), START + ALONE_MS - 1);
    alone.pass(1);
    assert.equal(alone.time.now(), alone.state.now);
  });

  it('follows no step because of what others say: only one that the own clock has made, and they confirm', () => {
    const { time, pass, hear } = machine();
    hear(7_200_000, 7_200_000, 7_200_000);
    pass(ALONE_MS * 2);
    assert.equal(time.now(), START + ALONE_MS * 2);
  });

  it('counts each that shows the time before against it, and none that shows a third', () => {
    const step = { byMs: 7_200_000 };
    const rows: readonly [readonly number[], number, boolean][] = [
      [[], 0, false],
      [[], ALONE_MS, true],
      [[7_200_000], 0, true],
      [[0], ALONE_MS * 100, false],
      [[0, 7_200_000], ALONE_MS * 100, false],
      [[0, 7_200_000, 7_230_000], 0, true],
      [[3_600_000], 0, false],
      [[3_600_000], ALONE_MS, true],
      [[-(10 ** 12), 3_600_000, 7_200_000], 0, true],
    ];
    for (const [others, stood, expected] of rows)
      assert.equal(isConfirmed(step, stood, others), expected, `${others} after ${stood} ms`);
  });
});
