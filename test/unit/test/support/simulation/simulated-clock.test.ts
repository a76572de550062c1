import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

describe('simulated clock', () => {
  it('stands still until it is moved, then wakes sleepers at their time', async () => {
    const clock = new SimulatedClock({ start: 1000 });
    const woken: number[] = [];
    for (const ms of [30, 10, 20]) void clock.sleep(ms).then(() => woken.push(clock.now()));
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual([clock.now(), woken], [1000, []]);
    await clock.advance(25);
    assert.deepEqual([clock.now(), woken], [1025, [1010, 1020]]);
    await clock.advance(5);
    assert.deepEqual(woken, [1010, 1020, 1030]);
  });

  it('fires equal deadlines in the order in which they were set', async () => {
    const clock = new SimulatedClock();
    const order: number[] = [];
    for (let i = 0; i < 100; i++) clock.schedule(i % 3 === 0 ? 5 : 7, () => order.push(i));
    await clock.advance(7);
    const indices = Array.from({ length: 100 }, (_, i) => i);
    assert.deepEqual(order, [
      ...indices.filter((i) => i % 3 === 0),
      ...indices.filter((i) => i % 3 !== 0),
    ]);
  });

  it('keeps the order of any set of deadlines, cancelled ones left out', async () => {
    const clock = new SimulatedClock();
    const order: number[] = [];
    const deadlines = Array.from({ length: 500 }, (_, i) => (i * 7919) % 101);
    deadlines.forEach((ms, i) => {
      const cancel = clock.schedule(ms, () => order.push(i));
      if (i % 5 === 0) cancel();
    });
    await clock.advance(101);
    const expected = deadlines
      .map((ms, i) => ({ ms, i }))
      .filter(({ i }) => i % 5 !== 0)
      .sort((a, b) => a.ms - b.ms || a.i - b.i);
    assert.deepEqual(
      order,
      expected.map(({ i }) => i),
    );
  });

  it('lets the consequences of a timer happen before the next one', async () => {
    const clock = new SimulatedClock({ start: 0 });
    const seen: string[] = [];
    clock.schedule(1, () => {
      setImmediate(() => queueMicrotask(() => void clock.sleep(1).then(() => seen.push('2a'))));
    });
    clock.schedule(3, () => seen.push('3'));
    await clock.advance(3);
    assert.deepEqual(seen, ['2a', '3']);
  });

  it('a sleep ends with its signal', async () => {
    const clock = new SimulatedClock();
    const reason = new Error('stop');
    const controller = new AbortController();
    const slept = assert.rejects(clock.sleep(10, controller.signal), reason);
    controller.abort(reason);
    await slept;
    await assert.rejects(clock.sleep(10, AbortSignal.abort(reason)), reason);
    let done = false;
    void clock.sleep(10, new AbortController().signal).then(() => {
      done = true;
    });
    await clock.advance(10);
    assert.ok(done);
  });

  it('runUntil stops at the moment the condition holds, or says that it never did', async () => {
    const clock = new SimulatedClock({ start: 0 });
    let rung = false;
    clock.schedule(500, () => {
      rung = true;
    });
    clock.schedule(600, () => undefined);
    await clock.runUntil(() => rung, 1000);
    assert.equal(clock.now(), 500);
    await assert.rejects(
      clock.runUntil(() => false, 1000),
      /within 1000 simulated ms/,
    );
    assert.equal(clock.now(), 1500);
  });

  it('run moves time for a promise and hands on how it ends', async () => {
    const clock = new SimulatedClock({ start: 0 });
    assert.equal(
      await clock.run(
        clock.sleep(86_400_000).then(() => 'late'),
        86_400_000,
      ),
      'late',
    );
    const failing = clock.sleep(1).then(() => {
      throw new Error('failed');
    });
    await assert.rejects(clock.run(failing), /failed/);
    await assert.rejects(clock.run(new Promise(() => undefined), 10), RangeError);
  });
});
