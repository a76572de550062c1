import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { EdgeTest, roundTripsOf, trainRate } from '#agent/tunnel/path/edge-test';
import type { Aid } from '#kel/identifiers';

const aid = 'EB' as Aid;

/** An end that answers every `nth` echo of up to `limit` bytes not, each `everyMs` after the one before. */
function edge({ nth = 0, limit = 1_420, everyMs = 0.1 } = {}) {
  let now = 0;
  let asked = 0;
  let free = 0;
  const clock = {
    now: () => now,
    monotonic: () => now,
    sleep: async (ms: number) => {
      now += ms;
    },
  };
  const echoes = {
    ask: async (_aid: Aid, length: number) => {
      asked += 1;
      if (length > limit || (nth > 0 && asked % nth === 0)) return undefined;
      free = Math.max(free, now) + everyMs;
      return 4 + free - now;
    },
  };
  return new EdgeTest({ echoes, clock });
}

describe('a test of a tunnel', () => {
  it('counts what comes back, times it, and rates the trains by the way from first to last', async () => {
    const said: string[] = [];
    const result = await edge().run(aid, 1_420, (text) => said.push(text));
    assert.deepEqual([result.sent, result.received, result.longestArrives], [50, 50, true]);
    assert.ok(Math.abs((result.roundTrips?.median ?? 0) - 4.1) < 0.01);
    // A packet of 1,420 bytes each tenth of a millisecond.
    assert.ok(Math.abs((result.bitsPerSecond ?? 0) / 113.6e6 - 1) < 0.001);
    assert.equal(said.length, 3);
  });

  it('tells loss, and long packets that do not arrive', async () => {
    const lossy = await edge({ nth: 10 }).run(aid, 1_420, () => undefined);
    assert.equal(lossy.received, 45);
    const short = await edge({ limit: 1_300 }).run(aid, 1_420, () => undefined);
    assert.deepEqual(
      [short.longestArrives, short.bitsPerSecond, short.received],
      [false, undefined, 50],
    );
  });

  it('says that there is no tunnel where nothing is answered', async () => {
    await assert.rejects(
      edge({ limit: 0 }).run(aid, 1_420, () => undefined),
      {
        code: 'PATH_NO_TUNNEL',
      },
    );
  });

  it('sums up times as they are', () => {
    assert.equal(roundTripsOf([]), undefined);
    assert.deepEqual(roundTripsOf([3]), { min: 3, median: 3, p95: 3, max: 3 });
    const times = Array.from({ length: 100 }, (_, n) => 100 - n);
    assert.deepEqual(roundTripsOf(times), { min: 1, median: 51, p95: 96, max: 100 });
    assert.equal(trainRate([1, 2, 3], 1_000), undefined);
    assert.equal(
      trainRate(
        Array.from({ length: 60 }, () => 5),
        1_000,
      ),
      undefined,
    );
  });
});
