import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { OwnTwin, type SignedEnd } from '#agent/mesh/sync/own-twin';
import { TwoPlaces } from '#agent/mesh/sync/two-places';
import type { Aid, Said } from '#kel/identifiers';
import { formatDateTime } from '#src/clock';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const self = 'Eself' as Aid;
const silent = { debug() {}, info() {}, warn() {}, error() {}, failed() {} };

function end(d: string, at: number, i: Aid = self, s = 3): SignedEnd {
  return { d: d as Said, i, dt: formatDateTime(at), es: { s }, la: [`/ip4/192.0.2.1/tcp/${d}`] };
}

describe('records of a member that come from two places', () => {
  const show = (places: TwoPlaces, sequence: string, aid = self) =>
    [...sequence].map((d) => places.show(end(d, 0, aid))).filter(Boolean).length;

  for (const [sequence, isTwo] of [
    ['111111', false],
    ['123456', false],
    ['1213', false],
    ['1212', false],
    ['12121', true],
    ['12131412', true],
    ['1222111222111', true],
  ] as const)
    it(`${sequence}: ${isTwo ? 'two, told once' : 'one'}`, () => {
      const places = new TwoPlaces(new SimulatedClock());
      assert.equal(show(places, sequence), isTwo ? 1 : 0);
      assert.equal(places.placesOf(self) !== undefined, isTwo);
    });

  it('are of one AID each, forgotten after half an hour, and with the member', async () => {
    const clock = new SimulatedClock();
    const places = new TwoPlaces(clock);
    show(places, '1212121');
    show(places, '34', 'Eother' as Aid);
    assert.equal(places.placesOf('Eother' as Aid), undefined);
    assert.deepEqual(places.placesOf(self), ['/ip4/192.0.2.1/tcp/2', '/ip4/192.0.2.1/tcp/1']);
    await clock.advance(1_800_001);
    assert.equal(places.placesOf(self), undefined);
    show(places, '121212');
    places.forget(() => false);
    assert.equal(places.placesOf(self), undefined);
  });
});

describe('a second agent with the own keys', () => {
  function world() {
    const clock = new SimulatedClock();
    const state = { establishment: { sn: 3 } };
    const issued = new Set<Said>();
    let reissued = 0;
    const twin = new OwnTwin({
      identity: { aid: self, state },
      clock,
      journal: silent,
      hasIssued: async (said) => issued.has(said),
      reissue: () => {
        reissued += 1;
      },
    });
    return { clock, state, issued, twin, found: () => twin.found, reissued: () => reissued };
  }

  it('is proven by a record that was made after the start of this run and not by it, and by nothing else', async () => {
    const { clock, twin, issued, found, reissued } = world();
    const started = clock.now();
    await clock.advance(10_000);
    issued.add('own' as Said);
    await twin.seen(end('own', clock.now()));
    await twin.seen(end('before', started - 1));
    await twin.seen(end('of another', clock.now(), 'Eother' as Aid));
    assert.equal(found(), undefined);
    twin.expectAlone();
    await twin.seen(end('7400', clock.now()));
    assert.deepEqual(found()?.addresses, ['/ip4/192.0.2.1/tcp/7400']);
    assert.throws(() => twin.expectAlone(), { code: 'IDENTITY_AWAITS_OPERATOR' });
    assert.equal(reissued(), 1);
  });

  it('is answered with an own record now and then, not each time: two would do nothing else', async () => {
    const { clock, twin, reissued } = world();
    for (let n = 0; n < 100; n++) {
      await clock.advance(10_000);
      await twin.seen(end(`${n}`, clock.now()));
    }
    assert.equal(reissued(), 2);
  });

  it('counts no more once the own keys were rotated away from it', async () => {
    const { clock, twin, state } = world();
    await clock.advance(1_000);
    await twin.seen(end('7400', clock.now()));
    state.establishment = { sn: 4 };
    assert.equal(twin.found, undefined);
    twin.expectAlone();
    await twin.seen(end('7400', clock.now(), self, 4));
    assert.ok(twin.found);
  });
});
