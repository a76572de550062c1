import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Door, type DoorLimits, type Guest } from '#agent/network/door';
import type { PeerKey } from '#agent/network/network';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

const LIMITS: DoorLimits = {
  maxConnections: 100,
  maxStrangers: 10,
  maxStrangersPerSource: 4,
  maxPendingInbound: 8,
  maxPendingPerSource: 4,
  maxInboundPerSecond: 20,
};

function world() {
  const clock = new SimulatedClock();
  const door = new Door(clock, LIMITS);
  door.setFavour({
    peer: (peer) => peer.startsWith('member'),
    host: (ip) => ip.startsWith('10.'),
  });
  const arrive = (host: string, open = 0) => {
    const abort = () => {
      newcomer.aborted = true;
    };
    const newcomer = { host, aborted: false, abort };
    return Object.assign(newcomer, { leave: door.admit(newcomer, open) });
  };
  return { clock, door, arrive };
}

let later = 0;
function guest(peer: string, host: string, isInbound = true): Guest {
  later += 1;
  return { peer: peer as PeerKey, host, isInbound, since: later };
}

describe('the door', () => {
  it('lets a member in whatever strangers hold every place and use up the rate of their sources', () => {
    const { arrive } = world();
    const member = arrive('10.0.0.1');
    for (let source = 0; source < 50; source++)
      for (let n = 0; n < 30; n++) arrive(`192.0.2.${source}`);
    assert.ok(member.leave !== undefined && !member.aborted);
    assert.ok(arrive('10.0.0.2').leave !== undefined);
    assert.ok(arrive('198.51.100.1').leave !== undefined, 'and a newcomer');
  });

  it('is the rate of each source, in time that does not jump', async () => {
    const { arrive, clock, door } = world();
    const count = () =>
      Array.from({ length: 100 }, () => arrive('192.0.2.1')).filter(({ leave }) => leave).length;
    assert.equal(count(), 20);
    assert.equal(door.turnedAway, 80 + 16);
    clock.stepWall(-3_600_000);
    await clock.advance(500);
    assert.equal(count(), 10);
    clock.stepWall(7_200_000);
    assert.equal(count(), 0);
  });

  it('is shut for everybody at the limit of connections in all', () => {
    const { arrive } = world();
    assert.equal(arrive('10.0.0.1', 100).leave, undefined);
    assert.ok(arrive('10.0.0.1', 99).leave);
  });

  it('makes strangers leave for strangers, the crowd first, and no member, nor what this end has dialled', () => {
    const { door } = world();
    const members = Array.from({ length: 50 }, (_, n) => guest(`member ${n}`, '192.0.2.9'));
    const dialled = Array.from({ length: 50 }, (_, n) => guest(`dialled ${n}`, '192.0.2.9', false));
    const alone = guest('alone', '198.51.100.1');
    const crowd = Array.from({ length: 30 }, (_, n) => guest(`crowd ${n}`, `192.0.2.${n % 3}`));
    const leaving = new Set(door.tooMany([...crowd, ...members, alone, ...dialled]));
    assert.equal(leaving.size, 31 - LIMITS.maxStrangers);
    assert.ok(![...members, ...dialled, alone].some((one) => leaving.has(one)));
    assert.ok(!leaving.has(crowd.at(-1) as Guest), 'the oldest first');
  });

  it('keeps the newest few connections of one peer, member or not', () => {
    const { door } = world();
    const many = Array.from({ length: 9 }, () => guest('member gone bad', '10.0.0.1'));
    assert.deepEqual(new Set(door.tooMany(many)), new Set(many.slice(0, 5)));
  });
});
