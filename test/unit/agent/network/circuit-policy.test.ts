import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { CircuitPolicy } from '#agent/network/circuit-policy';
import type { PeerKey } from '#agent/network/network';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const [member, other, stranger] = ['member', 'other', 'stranger'] as unknown as [
  PeerKey,
  PeerKey,
  PeerKey,
];

function world() {
  const clock = new SimulatedClock();
  const state = { strangerCircuits: 0 };
  const relaying = new CircuitPolicy({
    clock,
    favours: (peer) => peer === member || peer === other,
    strangerCircuits: () => state.strangerCircuits,
  });
  const passes = (source: PeerKey, attempts: number) =>
    Array.from({ length: attempts }, () => relaying.mayPass(source, other)).filter(Boolean).length;
  return { clock, state, relaying, passes };
}

describe('what a relay passes on', () => {
  it('members have a place, and strangers have none', () => {
    const { relaying } = world();
    assert.deepEqual([relaying.mayReserve(member), relaying.mayReserve(stranger)], [true, false]);
    assert.equal(relaying.refused, 1);
  });

  it('nobody is passed on to a stranger', () => {
    const { relaying } = world();
    assert.equal(relaying.mayPass(member, stranger), false);
    assert.equal(relaying.mayPass(stranger, stranger), false);
  });

  it('a member begins circuits up to a rate, and what is above is refused and counted', async () => {
    const { clock, relaying, passes } = world();
    assert.equal(passes(member, 300), 256);
    assert.equal(relaying.refused, 44);
    await clock.advance(200_000);
    assert.equal(passes(member, 300), 10);
  });

  it('a stranger begins a few, and all of them together have a few at one time', async () => {
    const { clock, state, passes } = world();
    assert.equal(passes(stranger, 10), 4);
    await clock.advance(120_000);
    state.strangerCircuits = 9;
    assert.equal(passes(stranger, 10), 0);
    // Members do not wait for strangers.
    assert.equal(passes(member, 1), 1);
    state.strangerCircuits = 8;
    assert.equal(passes(stranger, 10), 2);
  });
});
