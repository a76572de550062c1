import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Network, ProtocolId } from '#agent/network/network';
import { VersionedNetwork } from '#agent/network/versioned-network';
import { SeededRng } from '../../../support/doubles/seeded-rng.ts';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';
import { SimulatedWorld } from '../../../support/simulation/simulated-network.ts';

const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 64, maxStreams: 4 };

/** Two ends that are connected; an end of version 0 is a program that knows version 1 of the protocols alone. */
async function ends(name: string, near: 0 | 1 | 2, far: 0 | 1 | 2) {
  const clock = new SimulatedClock();
  const world = new SimulatedWorld({ clock, rng: new SeededRng(name) });
  const least = { near, far };
  const made = (end: 'near' | 'far') => {
    const network = world.network(end);
    return least[end] === 0 ? network : new VersionedNetwork(network, () => least[end] || 1);
  };
  const [a, b] = [made('near'), made('far')];
  const told: string[] = [];
  const serve = (network: Network, end: string) =>
    network.handle(PROTOCOL, LIMITS, async (stream) => {
      told.push(end);
      await stream.send(Uint8Array.of(1));
      await stream.receive();
    });
  serve(a, 'near');
  serve(b, 'far');
  await clock.run(b.dial([world.addressOf('near')]));
  const greets = (from: Network, to: Network) =>
    clock.run(
      (async () => {
        const stream = await from.open(to.self, PROTOCOL, LIMITS);
        const message = await stream.receive();
        await stream.close();
        return message;
      })(),
    );
  return { a, b, least, clock, told, greets };
}

describe('protocols in two versions', () => {
  it('are spoken in the second by two ends that know it', async () => {
    const { a, b, greets, told } = await ends('both', 1, 1);
    assert.ok(await greets(a, b));
    assert.equal(await (a as VersionedNetwork).versionOf(b.self), 2);
    assert.deepEqual(told, ['far']);
  });

  it('are spoken in the first with an end that knows no other, as long as the mesh has not moved', async () => {
    const { a, b, least, greets } = await ends('old', 1, 0);
    assert.ok(await greets(a, b));
    assert.ok(await greets(b, a));
    assert.equal(await (a as VersionedNetwork).versionOf(b.self), 1);
    assert.equal((a as VersionedNetwork).isOutdated(b.self), false);
    least.near = 2;
    await assert.rejects(greets(a, b), { code: 'NETWORK_OLD_PROTOCOL' });
    await assert.rejects(greets(b, a), { code: 'NETWORK_STREAM_CLOSED' });
    assert.equal((a as VersionedNetwork).isOutdated(b.self), true);
  });

  it('work between an end that has heard that the mesh has moved, and one that has not yet', async () => {
    const { a, b, greets } = await ends('unheard', 2, 1);
    assert.ok(await greets(a, b));
    assert.ok(await greets(b, a));
    assert.equal((a as VersionedNetwork).isOutdated(b.self), false);
  });

  it('notice by an inbound stream that a peer is outdated, and by the next that it was updated', async () => {
    const { a, b, least, greets } = await ends('updated', 2, 0);
    await assert.rejects(greets(b, a), { code: 'NETWORK_STREAM_CLOSED' });
    const network = a as VersionedNetwork;
    assert.equal(network.isOutdated(b.self), true);
    least.far = 1;
    const updated = new VersionedNetwork(b, () => 1);
    assert.ok(await greets(updated, a));
    assert.equal(network.isOutdated(b.self), false);
  });

  it('tell a protocol that nobody serves from an old one', async () => {
    const { a, b, clock } = await ends('none', 2, 2);
    const other = '/kelmesh/1/none' as ProtocolId;
    await assert.rejects(clock.run(a.open(b.self, other, LIMITS)), {
      code: 'NETWORK_PROTOCOL_UNSUPPORTED',
    });
  });
});
