import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { GossipGuard, GRAYLIST } from '#agent/network/gossip-guard';
import type { PeerKey } from '#agent/network/network';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const peer = '12D3KooWA' as PeerKey;
const other = '12D3KooWB' as PeerKey;

function guard() {
  const clock = new SimulatedClock();
  return { clock, guard: new GossipGuard(clock) };
}

describe('gossip guard', () => {
  it('no longer hears a peer after eight rejected messages, others it does', () => {
    const { guard: subject } = guard();
    for (let i = 0; i < 7; i++) subject.reject(peer);
    assert.ok(subject.admit(peer));
    subject.reject(peer);
    assert.ok(!subject.admit(peer));
    assert.ok(subject.score(peer) <= GRAYLIST);
    assert.ok(subject.admit(other));
    assert.ok(subject.score(other) === 0);
  });

  it('halves the points every ten minutes', async () => {
    const { guard: subject, clock } = guard();
    for (let i = 0; i < 10; i++) subject.reject(peer);
    const before = subject.score(peer);
    await clock.advance(600_000);
    assert.ok(Math.abs(subject.score(peer) - before / 2) < 1e-9);
    assert.ok(subject.admit(peer));
  });

  it('lets a burst pass, then a rate, and counts what is above against the peer', async () => {
    const { guard: subject, clock } = guard();
    for (let i = 0; i < 2048; i++) assert.ok(subject.admit(peer));
    assert.ok(!subject.admit(peer));
    assert.equal(subject.score(peer), -1);
    await clock.advance(1000);
    for (let i = 0; i < 256; i++) assert.ok(subject.admit(peer));
    assert.ok(!subject.admit(peer));
  });

  it('forgets the least guilty first when it is full', () => {
    const { guard: subject } = guard();
    for (let i = 0; i < 8; i++) subject.reject(peer);
    for (let i = 0; i < 5000; i++) subject.admit(`stranger ${i}` as PeerKey);
    assert.ok(!subject.admit(peer));
  });
});
