/** The faults that only the simulated world has. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { MessageStream, Network, ProtocolId } from '#agent/network/network';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';
import { SimulatedWorld } from '../../../../support/simulation/simulated-network.ts';

const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 1000, maxStreams: 4 };
const TOPIC = 'news';

function createWorld(seed: string | number = 1) {
  const clock = new SimulatedClock();
  return { clock, world: new SimulatedWorld({ clock, rng: new SeededRng(seed) }) };
}

/** Every name connected to every other. */
async function mesh(world: SimulatedWorld, names: readonly string[]): Promise<Network[]> {
  const networks = names.map((name) => world.network(name));
  for (const [i, network] of networks.entries()) {
    for (const name of names.slice(i + 1)) {
      await world.clock.run(network.dial([world.addressOf(name)]));
    }
  }
  return networks;
}

async function pair(world: SimulatedWorld): Promise<[Network, Network]> {
  const [a, b] = await mesh(world, ['a', 'b']);
  return [a as Network, b as Network];
}

async function openStream(world: SimulatedWorld, a: Network, b: Network) {
  const { promise, resolve } = Promise.withResolvers<MessageStream>();
  b.handle(PROTOCOL, LIMITS, (stream) => {
    resolve(stream);
    return new Promise(() => undefined);
  });
  const near = await world.clock.run(a.open(b.self, PROTOCOL, LIMITS));
  return { near, far: await promise };
}

describe('simulated network', () => {
  it('keeps key and address of a name over worlds, and names apart', () => {
    const [first, second] = [createWorld(1).world, createWorld(2).world];
    assert.equal(first.network('a').self, second.network('a').self);
    assert.equal(first.addressOf('a'), second.addressOf('a'));
    assert.notEqual(first.network('b').self, first.network('a').self);
    assert.equal(first.network('a'), first.network('a'));
  });

  it('loses gossip, and resets the stream whose message is lost', async () => {
    const { clock, world } = createWorld();
    const [a, b] = await pair(world);
    const { near, far } = await openStream(world, a, b);
    let heard = 0;
    b.subscribe(TOPIC, async () => {
      heard += 1;
      return 'accept';
    });
    world.setLoss(1);
    await a.publish(TOPIC, Uint8Array.of(1));
    await assert.rejects(clock.run(near.send(Uint8Array.of(1))), { code: 'NETWORK_STREAM_CLOSED' });
    await assert.rejects(clock.run(far.receive()), { code: 'NETWORK_STREAM_CLOSED' });
    await clock.advance(1000);
    assert.equal(heard, 0);
    assert.deepEqual(a.peers(), [b.self], 'the connection stays');
    world.setLoss(0);
    await a.publish(TOPIC, Uint8Array.of(2));
    await clock.advance(1000);
    assert.equal(heard, 1);
  });

  it('delays within the bounds, streams in order and gossip in any', async () => {
    const { clock, world } = createWorld();
    const [a, b] = await pair(world);
    const { near, far } = await openStream(world, a, b);
    const gossip: number[] = [];
    b.subscribe(TOPIC, async (message) => {
      gossip.push(message[0] ?? -1);
      return 'accept';
    });
    world.setDelay(100, 200);
    const sent = clock.now();
    const numbers = Array.from({ length: 20 }, (_, i) => i);
    for (const i of numbers) {
      await near.send(Uint8Array.of(i));
      await a.publish(TOPIC, Uint8Array.of(i));
    }
    const stream: number[] = [];
    for (const _ of numbers) {
      stream.push((await clock.run(far.receive()))?.[0] ?? -1);
      assert.ok(clock.now() - sent >= 100 && clock.now() - sent <= 200);
    }
    await clock.advance(200);
    assert.deepEqual(stream, numbers);
    assert.notDeepEqual(gossip, numbers);
    assert.deepEqual(
      [...gossip].sort((x, y) => x - y),
      numbers,
    );
  });

  it('a partition cuts what is between its groups alone, and healing reconnects', async () => {
    const { clock, world } = createWorld();
    const [a, b, c, d] = (await mesh(world, ['a', 'b', 'c', 'd'])) as [
      Network,
      Network,
      Network,
      Network,
    ];
    const { near, far } = await openStream(world, a, c);
    world.partition([['a', 'b'], ['c']]);
    assert.deepEqual([a.peers(), b.peers()], [[b.self], [a.self]]);
    assert.deepEqual([c.peers(), d.peers()], [[], []]);
    for (const stream of [near, far]) {
      await assert.rejects(stream.receive(), { code: 'NETWORK_STREAM_CLOSED' });
    }
    await assert.rejects(clock.run(a.dial([world.addressOf('c')])), {
      code: 'NETWORK_UNREACHABLE',
    });
    await clock.advance(600_000);
    assert.deepEqual(c.peers(), []);
    world.heal();
    await clock.runUntil(() => [a, b, c, d].every((n) => n.peers().length === 3), 70_000);
  });

  it('a crash is silent at home and seen by the peers; a restart has the same key', async () => {
    const { clock, world } = createWorld();
    const [a, b] = await pair(world);
    const { near, far } = await openStream(world, a, b);
    const told: string[] = [];
    a.listen({ connected: () => told.push('a up'), disconnected: () => told.push('a down') });
    b.listen({ connected: () => told.push('b up'), disconnected: () => told.push('b down') });
    world.crash('b');
    assert.deepEqual(told, ['a down']);
    await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED' });
    await assert.rejects(far.send(Uint8Array.of(1)), { code: 'NETWORK_STREAM_CLOSED' });
    await assert.rejects(b.publish(TOPIC, Uint8Array.of(1)), { code: 'NETWORK_CLOSED' });
    await clock.advance(10_000);
    const reborn = world.restart('b');
    assert.equal(reborn.self, b.self);
    assert.throws(() => world.restart('b'), /it runs/);
    await clock.runUntil(() => reborn.peers().includes(a.self), 70_000);
    assert.deepEqual(told, ['a down', 'a up']);
  });

  it('is the same twice from one seed, and another from another', async () => {
    const trace = async (seed: number) => {
      const { clock, world } = createWorld(seed);
      const start = clock.now();
      const names = ['a', 'b', 'c', 'd', 'e'];
      const networks = await mesh(world, names);
      const events: string[] = [];
      networks.forEach((network, i) => {
        network.listen({
          connected: (peer) => events.push(`${clock.now() - start} ${i} + ${peer}`),
          disconnected: (peer) => events.push(`${clock.now() - start} ${i} - ${peer}`),
        });
        network.subscribe(TOPIC, async (message, from) => {
          events.push(`${clock.now() - start} ${i} ${message[0]} ${from}`);
          return 'accept';
        });
      });
      world.setLoss(0.3);
      for (let i = 0; i < 10; i++) await networks[i % 5]?.publish(TOPIC, Uint8Array.of(i));
      await clock.advance(100);
      world.partition([['a', 'b']]);
      await clock.advance(1000);
      world.heal();
      world.crash('e');
      await clock.advance(100_000);
      return events;
    };
    const first = await trace(7);
    assert.ok(first.length > 50);
    assert.deepEqual(await trace(7), first);
    assert.notDeepEqual(await trace(8), first);
  });

  it('carries a message to fifty agents in a ring with few links', async () => {
    const { clock, world } = createWorld();
    const names = Array.from({ length: 50 }, (_, i) => `agent ${i}`);
    const networks = names.map((name, i) =>
      world.network(name, {
        bootstrap: [1, 7].map((step) => world.addressOf(`agent ${(i + step) % 50}`)),
      }),
    );
    await clock.runUntil(() => networks.every((n) => n.peers().length === 4), 10_000);
    const heard = new Map<string, number>();
    for (const network of networks) {
      network.subscribe(TOPIC, async () => {
        heard.set(network.self, (heard.get(network.self) ?? 0) + 1);
        return 'accept';
      });
    }
    await networks[0]?.publish(TOPIC, new Uint8Array(100));
    await clock.advance(1000);
    assert.equal(heard.size, 49);
    assert.deepEqual([...new Set(heard.values())], [1], 'each once');
  });
});
