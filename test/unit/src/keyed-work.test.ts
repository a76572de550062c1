import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { KeyedWork } from '#src/keyed-work';
import { jittered, ticks } from '#src/ticks';
import { SimulatedClock } from '../../support/simulation/simulated-clock.ts';

function setUp(
  run: (key: string, nth: number) => Promise<'done' | 'again' | { readonly afterMs: number }>,
  most = 10,
) {
  const clock = new SimulatedClock();
  const stop = new AbortController();
  const runs: string[] = [];
  const failures: string[] = [];
  const work = new KeyedWork<string>({
    clock,
    signal: stop.signal,
    run: (key) => run(key, runs.push(key)),
    pauseMs: (count) => (count > most ? undefined : 1_000 * 2 ** (count - 1)),
    failed: (key, error) => failures.push(`${key}: ${(error as Error).message}`),
  });
  return { clock, stop, runs, failures, work };
}

describe('keyed work', () => {
  it('runs once per key, and once more for all that ask while it runs', async () => {
    const gate = Promise.withResolvers<void>();
    const { runs, work, clock } = setUp(async () => {
      await gate.promise;
      return 'done';
    });
    for (let i = 0; i < 5; i++) for (const key of ['a', 'b']) work.poke(key);
    await clock.advance(0);
    assert.deepEqual(runs, ['a', 'b']);
    gate.resolve();
    await clock.advance(0);
    assert.deepEqual(runs.toSorted(), ['a', 'a', 'b', 'b']);
    assert.equal(work.size, 0);
    work.poke('a');
    await clock.advance(0);
    assert.equal(runs.length, 5);
  });

  it('tries again after pauses that grow, whoever asks meanwhile, and at once when this end knows better', async () => {
    const { runs, failures, work, clock } = setUp(async () => {
      throw new Error('no');
    });
    work.poke('a');
    await clock.advance(0);
    for (let i = 0; i < 100; i++) work.poke('a');
    await clock.advance(999);
    assert.equal(runs.length, 1);
    await clock.advance(1);
    assert.equal(runs.length, 2);
    await clock.advance(1_999);
    assert.equal(runs.length, 2);
    work.hurry('a');
    await clock.advance(0);
    assert.equal(runs.length, 3);
    assert.deepEqual(new Set(failures), new Set(['a: no']));
  });

  it('goes on after the pause that it asks for, which is no failure, or sooner when it is hurried', async () => {
    const { runs, work, clock } = setUp(async (_, nth) => {
      if (nth === 2) return 'again';
      return nth === 5 ? 'done' : { afterMs: 60_000 };
    });
    work.poke('a');
    await clock.advance(0);
    work.poke('a');
    await clock.advance(59_999);
    assert.equal(runs.length, 1);
    await clock.advance(1);
    assert.equal(runs.length, 2);
    // The first failure in a row, however often it went on before.
    await clock.advance(1_000);
    assert.equal(runs.length, 3);
    work.hurry('a');
    await clock.advance(0);
    assert.equal(runs.length, 4);
    await clock.advance(60_000);
    assert.equal(runs.length, 5);
    assert.equal(work.size, 0);
  });

  it('begins with short pauses again after a success', async () => {
    const outcomes: ('done' | 'again')[] = ['again', 'again', 'done', 'again', 'done'];
    const { runs, work, clock } = setUp(async (_, nth) => outcomes[nth - 1] ?? 'done');
    work.poke('a');
    await clock.advance(3_000);
    assert.equal(runs.length, 3);
    assert.equal(work.isAtWork('a'), false);
    work.poke('a');
    await clock.advance(1_000);
    assert.equal(runs.length, 5);
  });

  it('gives up where there is no pause, until somebody asks', async () => {
    const { runs, work, clock } = setUp(async () => 'again', 1);
    work.poke('a');
    await clock.advance(100_000);
    assert.equal(runs.length, 2);
    assert.equal(work.size, 0);
    work.poke('a');
    await clock.advance(0);
    assert.equal(runs.length, 3);
  });

  it('rests where it does not persist: whoever asks in the pause or after it has one run, and nobody none', async () => {
    const clock = new SimulatedClock();
    let runs = 0;
    const work = new KeyedWork<string>({
      clock,
      signal: new AbortController().signal,
      run: async () => {
        runs += 1;
        return 'again';
      },
      pauseMs: () => 1_000,
      persists: (failures) => failures < 2,
      failed: () => undefined,
    });
    work.poke('a');
    await clock.advance(100_000);
    assert.equal(runs, 2);
    assert.equal(work.size, 0);
    work.poke('a');
    await clock.advance(1_500);
    for (let i = 0; i < 100; i++) work.poke('a');
    await clock.advance(400);
    assert.equal(runs, 4);
    await clock.advance(100_000);
    assert.equal(runs, 5);
  });

  it('forgets a key: no further attempt, and a new request begins anew', async () => {
    const { runs, work, clock } = setUp(async () => 'again');
    work.poke('a');
    await clock.advance(0);
    work.forget('a');
    await clock.advance(100_000);
    assert.equal(runs.length, 1);
    work.poke('a');
    await clock.advance(0);
    assert.equal(runs.length, 2);
  });

  it('ends with its signal, in a pause and in a run, and tells of no failure after that', async () => {
    const { runs, failures, stop, work, clock } = setUp(async (key) => {
      if (key === 'slow') await clock.sleep(10_000);
      throw new Error('no');
    });
    work.poke('a');
    work.poke('slow');
    await clock.advance(0);
    stop.abort();
    await clock.advance(100_000);
    assert.deepEqual(runs, ['a', 'slow']);
    assert.deepEqual(failures, ['a: no']);
    work.poke('a');
    await clock.advance(0);
    assert.equal(runs.length, 2);
    assert.equal(work.size, 0);
  });
});

describe('ticks', () => {
  it('come after each pause, also after a round that failed, until the signal', async () => {
    const clock = new SimulatedClock();
    const stop = new AbortController();
    const failures: unknown[] = [];
    let rounds = 0;
    const end = ticks(
      {
        clock,
        signal: stop.signal,
        pauseMs: () => 1_000 * (rounds + 1),
        failed: (error) => failures.push(error),
      },
      () => {
        rounds += 1;
        if (rounds === 2) throw new Error('no');
      },
    );
    await clock.advance(999);
    assert.equal(rounds, 0);
    await clock.advance(1 + 2_000 + 3_000);
    assert.equal(rounds, 3);
    assert.equal(failures.length, 1);
    stop.abort();
    await end;
    await clock.advance(100_000);
    assert.equal(rounds, 3);
  });

  it('are jittered by a quarter either way', () => {
    assert.equal(jittered(1_000, 0), 750);
    assert.ok(jittered(1_000, 255) < 1_250);
    assert.equal(jittered(1_000, 128), 1_000);
  });
});
