import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { SerialQueue } from '#src/serial-queue';

describe('serial queue', () => {
  it('runs one at a time, in order of arrival', async () => {
    const queue = new SerialQueue();
    const seen: string[] = [];
    const gate = Promise.withResolvers<void>();
    const first = queue.run(async () => {
      seen.push('first begins');
      await gate.promise;
      seen.push('first ends');
      return 1;
    });
    const second = queue.run(async () => {
      seen.push('second');
      return 2;
    });
    await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(seen, ['first begins']);
    gate.resolve();
    assert.deepEqual(await Promise.all([first, second]), [1, 2]);
    assert.deepEqual(seen, ['first begins', 'first ends', 'second']);
  });

  it('goes on after a task that failed, which alone learns of it', async () => {
    const queue = new SerialQueue();
    const failing = queue.run(() => Promise.reject(new Error('no')));
    const throwing = queue.run(() => {
      throw new Error('never');
    });
    const next = queue.run(async () => 'yes');
    await assert.rejects(failing, /no/);
    await assert.rejects(throwing, /never/);
    assert.equal(await next, 'yes');
  });

  it('is idle when all that was queued has ended, well or not', async () => {
    const queue = new SerialQueue();
    await queue.idle();
    let ended = 0;
    const tasks = [1, 2, 3].map(() =>
      queue.run(async () => {
        await new Promise((resolve) => setImmediate(resolve));
        ended += 1;
        if (ended === 2) throw new Error('no');
      }),
    );
    const all = Promise.allSettled(tasks);
    await queue.idle();
    assert.equal(ended, 3);
    await all;
  });
});
