import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { withDeadline } from '#src/deadline';
import { SimulatedClock } from '../../support/simulation/simulated-clock.ts';

const late = (): never => {
  throw new Error('late');
};

describe('deadline', () => {
  it('gives the result that is in time, and leaves no timer', async () => {
    const clock = new SimulatedClock();
    const start = clock.now();
    const task = clock.sleep(99).then(() => 'done');
    assert.equal(await clock.run(withDeadline(clock, 100, task, late)), 'done');
    assert.equal(clock.now() - start, 99);
  });

  it('gives what the late function gives, or throws', async () => {
    const clock = new SimulatedClock();
    const never = new Promise<string>(() => undefined);
    assert.equal(await clock.run(withDeadline(clock, 100, never, () => 'instead')), 'instead');
    await assert.rejects(clock.run(withDeadline(clock, 100, never, late)), /late/);
  });

  it('passes the failure of the task on, and swallows one that comes after the deadline', async () => {
    const clock = new SimulatedClock();
    const failing = Promise.reject(new Error('broken'));
    await assert.rejects(clock.run(withDeadline(clock, 100, failing, late)), /broken/);
    const unseen: unknown[] = [];
    const onUnhandled = (reason: unknown) => unseen.push(reason);
    process.on('unhandledRejection', onUnhandled);
    try {
      const task = clock.sleep(200).then(() => Promise.reject(new Error('too late to matter')));
      assert.equal(await clock.run(withDeadline(clock, 100, task, () => 'instead')), 'instead');
      await clock.advance(200);
      await new Promise((resolve) => setImmediate(resolve));
      assert.deepEqual(unseen, []);
    } finally {
      process.off('unhandledRejection', onUnhandled);
    }
  });
});
