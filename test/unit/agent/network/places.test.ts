import assert from 'node:assert/strict';
import fc from 'fast-check';
import { describe, it } from 'mocha';
import { Places, sourceOf, whoGivesWay } from '#agent/network/places';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const LIMITS = { total: 16, perSource: 4, patienceMs: 2_000 };

interface Taken {
  readonly source: string;
  readonly at: number;
  held: boolean;
  free: () => void;
}

/** What was taken so far, in order. */
function world() {
  const clock = new SimulatedClock();
  const places = new Places(clock, LIMITS);
  const all: Taken[] = [];
  const take = (source: string): Taken => {
    const taken: Taken = { source, at: clock.monotonic(), held: true, free: () => undefined };
    taken.free = places.take(source, () => {
      taken.held = false;
    });
    all.push(taken);
    return taken;
  };
  const held = () => all.filter((one) => one.held);
  return { clock, places, take, held };
}

describe('places before a handshake', () => {
  it('keep their bounds, let every newcomer in, and make the source with the most give way, in whatever order who comes', async () => {
    const step = fc.record({
      source: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      leaves: fc.boolean(),
      waitMs: fc.constantFrom(0, 0, 0, 100, 3_000),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120 }), async (steps) => {
        const { clock, places, take, held } = world();
        for (const { source, leaves, waitMs } of steps) {
          if (waitMs > 0) await clock.advance(waitMs);
          const before = held();
          const taken = take(source);
          assert.ok(taken.held);
          assert.equal(places.size, held().length);
          assert.ok(places.size <= LIMITS.total);
          for (const group of Map.groupBy(held(), (one) => one.source).values())
            assert.ok(group.length <= LIMITS.perSource);
          const most = Math.max(
            ...[...Map.groupBy(before, (one) => one.source).values()].map((g) => g.length),
            0,
          );
          for (const gone of before.filter((one) => !one.held)) {
            const size = before.filter((one) => one.source === gone.source).length;
            const isStale = clock.monotonic() - gone.at >= LIMITS.patienceMs;
            assert.ok(isStale || size === most || gone.source === source);
          }
          if (leaves) {
            taken.free();
            taken.held = false;
          }
        }
      }),
    );
  });

  it('are not all taken by a few sources: one that comes alone is held until it is done', () => {
    const { take } = world();
    const attackers = ['a', 'b', 'c', 'd'];
    for (let n = 0; n < 40; n++) take(attackers[n % 4] as string);
    const member = take('member');
    for (let n = 0; n < 400; n++) take(attackers[n % 4] as string);
    assert.ok(member.held);
  });

  it('are given up after a while only where they are short', async () => {
    const { clock, take } = world();
    const first = take('slow');
    await clock.advance(60_000);
    for (let n = 0; n < 6; n++) take(`${n}`);
    assert.ok(first.held, 'nobody needs it');
    for (let n = 0; n < 6; n++) take(`other ${n}`);
    assert.equal(first.held, false);
  });
});

describe('the source of a connection', () => {
  for (const [host, source] of [
    ['192.0.2.1', '192.0.2.1'],
    ['::ffff:192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:0001:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
    ['', ''],
  ] as const)
    it(`of ${host || 'nothing'} is ${source || 'nothing'}`, () => {
      assert.equal(sourceOf(host), source);
    });
});

describe('who gives way', () => {
  it('is the oldest of the largest source', () => {
    const held = [
      { source: 'a', since: 1 },
      { source: 'b', since: 3 },
      { source: 'b', since: 2 },
    ];
    assert.deepEqual(whoGivesWay(held), { source: 'b', since: 2 });
    assert.equal(whoGivesWay([]), undefined);
  });
});
