import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'mocha';
import type { PeerAddress, PeerKey } from '#agent/network/network';
import { Redialler } from '#agent/network/redial';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const peer = '12D3KooWA' as PeerKey;
const named = `/ip4/192.0.2.1/tcp/7400/p2p/${peer}` as PeerAddress;
const alternative = `/ip4/198.51.100.1/tcp/7400/p2p/${peer}` as PeerAddress;
const bare = '/ip4/192.0.2.1/tcp/7400' as PeerAddress;

describe('re-dialling', () => {
  let clock: SimulatedClock;
  let start: number;
  let dials: { readonly second: number; readonly addresses: readonly PeerAddress[] }[];
  let connected: Set<PeerKey>;
  let admitted: boolean;
  let answers: boolean;
  let dropped: number;
  let subject: Redialler;

  beforeEach(() => {
    clock = new SimulatedClock();
    start = clock.now();
    dials = [];
    connected = new Set();
    admitted = true;
    answers = false;
    dropped = 0;
    subject = new Redialler({
      clock,
      isConnected: (key) => connected.has(key),
      admits: () => admitted,
      dropped: () => {
        dropped += 1;
      },
      dial: async (_, addresses) => {
        dials.push({ second: (clock.now() - start) / 1000, addresses });
        if (!answers) throw new Error('no answer');
        connect();
        return peer;
      },
    });
  });

  afterEach(() => subject.close());

  function connect(): void {
    connected.add(peer);
    subject.connected(peer, true);
  }

  function lose(): void {
    connected.delete(peer);
    subject.lost(peer);
  }

  const seconds = () => dials.map(({ second }) => second);

  it('dials a bootstrap peer at once, then after 1, 2, 4 … 60 s, for ever', async () => {
    subject.keep([named]);
    await clock.advance(400_000);
    assert.deepEqual(seconds(), [0, 1, 3, 7, 15, 31, 63, 123, 183, 243, 303, 363]);
    await clock.advance(86_400_000);
    assert.equal(dials.length, 12 + 1440);
  });

  it('dials without a pause when the way may have changed, and goes on from the first pause', async () => {
    subject.keep([named]);
    await clock.advance(40_000);
    dials = [];
    subject.hurry();
    await clock.advance(4_000);
    assert.deepEqual(seconds(), [40, 41, 43]);
    answers = true;
    subject.hurry();
    await clock.advance(1_000);
    dials = [];
    subject.hurry();
    await clock.advance(100_000);
    // It is connected.
    assert.deepEqual(seconds(), []);
  });

  it('takes several addresses of one bootstrap peer as alternatives', async () => {
    subject.keep([named, alternative]);
    await clock.advance(0);
    assert.deepEqual(dials, [{ second: 0, addresses: [named, alternative] }]);
  });

  it('stops when connected and starts again when lost', async () => {
    answers = true;
    subject.keep([named]);
    await clock.advance(600_000);
    assert.deepEqual(seconds(), [0]);
    answers = false;
    lose();
    await clock.advance(4_000);
    assert.deepEqual(seconds(), [0, 601, 603]);
  });

  it('goes on backing off when connections do not last a minute', async () => {
    answers = true;
    subject.keep([named]);
    for (let i = 0; i < 8; i++) {
      await clock.runUntil(() => connected.has(peer), 120_000);
      lose();
    }
    await clock.advance(60_000);
    assert.deepEqual(seconds(), [0, 1, 3, 7, 15, 31, 63, 123, 183]);
    await clock.advance(60_000); // this one lasts
    lose();
    await clock.advance(1_000);
    assert.equal(seconds().at(-1), 183 + 60 + 1);
  });

  it('gives up on a peer that is not a bootstrap peer after 64 attempts', async () => {
    connect();
    lose();
    await clock.advance(86_400_000);
    assert.equal(dials.length, 64);
  });

  it('dials a discovered peer at once, however often it is announced', async () => {
    for (let i = 0; i < 5; i++) subject.discovered(peer, [named]);
    await clock.advance(500);
    assert.deepEqual(dials, [{ second: 0, addresses: [named] }]);
  });

  it('leaves alone who is not admitted: a bootstrap peer until it is, others for good', async () => {
    admitted = false;
    subject.discovered(peer, [named]);
    subject.keep([named]);
    await clock.advance(10_000);
    assert.deepEqual(dials, []);
    admitted = true;
    await clock.advance(10_000);
    assert.deepEqual(seconds(), [15]);
  });

  it('a dismissed peer rests until it is connected again', async () => {
    answers = true;
    subject.keep([named]);
    await clock.advance(0);
    subject.dismiss(peer);
    lose();
    await clock.advance(600_000);
    assert.deepEqual(seconds(), [0]);
    connect();
    lose();
    await clock.advance(60_000);
    assert.equal(dials.length, 2);
  });

  it('learns the peer of an address without a key', async () => {
    answers = true;
    subject.keep([bare]);
    await clock.advance(0);
    lose();
    await clock.advance(2_000);
    assert.deepEqual(dials, [
      { second: 0, addresses: [bare] },
      { second: 1, addresses: [bare] },
    ]);
  });

  it('dials a bounded number of lost peers, and tells of the rest', async () => {
    for (let i = 0; i < 1100; i++) {
      subject.connected(`peer ${i}` as PeerKey, true);
      subject.lost(`peer ${i}` as PeerKey);
    }
    await clock.advance(1_000);
    assert.equal(dials.length, 1024);
    assert.equal(dropped, 1100 - 1024);
  });

  it('dials nobody who came by itself: no stranger makes this end dial addresses of its choice', async () => {
    for (let i = 0; i < 100; i++) {
      subject.connected(`peer ${i}` as PeerKey, false);
      subject.lost(`peer ${i}` as PeerKey);
    }
    await clock.advance(3_600_000);
    assert.deepEqual([dials, dropped], [[], 0]);
  });

  it('does nothing after close', async () => {
    subject.keep([named]);
    await subject.close();
    lose();
    await clock.advance(600_000);
    assert.deepEqual(seconds(), [0]);
  });
});
