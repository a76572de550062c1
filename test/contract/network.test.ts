/** What every network driver promises (`agent/network/network.ts`), on real libp2p and in the simulated world. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { afterEach, describe, it } from 'mocha';
import { createLibp2pNetwork } from '#agent/network/libp2p';
import {
  MAX_GOSSIP_MESSAGE,
  type MessageStream,
  type Network,
  type PeerAddress,
  type PeerKey,
  type ProtocolId,
} from '#agent/network/network';
import type { Clock } from '#src/clock';
import { Secret } from '#src/secret';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { systemClock } from '../support/doubles/system-clock.ts';
import { SimulatedClock } from '../support/simulation/simulated-clock.ts';
import { SimulatedWorld } from '../support/simulation/simulated-network.ts';

interface NetworkOptions {
  readonly bootstrap?: readonly PeerAddress[];
  readonly idleStreamMs?: number;
}

interface Driver {
  readonly name: string;
  readonly clock: Clock;
  create(options?: NetworkOptions): Promise<Network>;
  /** An address at which nobody answers. */
  readonly nowhere: PeerAddress;
  /** Runs a test; the simulated one moves time meanwhile. */
  run(body: () => Promise<void>): Promise<void>;
}

const STRANGER = '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp';

function libp2pDriver(): Driver {
  return {
    name: 'libp2p',
    clock: systemClock,
    nowhere: `/ip4/127.0.0.1/tcp/1/p2p/${STRANGER}` as PeerAddress,
    run: (body) => body(),
    create: ({ bootstrap = [], idleStreamMs } = {}) =>
      createLibp2pNetwork({
        privateKey: Secret.take(randomBytes(32)),
        listen: ['/ip4/127.0.0.1/tcp/0' as PeerAddress],
        bootstrap,
        mdns: false,
        clock: systemClock,
        limits: { maxInboundPerSecond: 1000, ...(idleStreamMs ? { idleStreamMs } : {}) },
      }),
  };
}

function simulatedDriver(): Driver {
  const clock = new SimulatedClock();
  const world = new SimulatedWorld({ clock, rng: new SeededRng('contract') });
  let count = 0;
  return {
    name: 'simulated',
    clock,
    nowhere: `/ip4/10.9.9.9/tcp/1/p2p/${STRANGER}` as PeerAddress,
    run: (body) => clock.run(body()),
    create: async (options) => {
      count += 1;
      return world.network(`node ${count}`, options);
    },
  };
}

const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 1 << 20, maxStreams: 2 };
const TOPIC = 'kelmesh/1/test';

for (const driver of [libp2pDriver(), simulatedDriver()]) {
  describe(`network contract: ${driver.name}`, () => {
    const running: Network[] = [];

    /** Connected pairwise: the first dials every other. */
    async function networks(count: number, options?: NetworkOptions): Promise<Network[]> {
      const made: Network[] = [];
      for (let i = 0; i < count; i++) made.push(await create(options));
      const [first, ...others] = made as [Network, ...Network[]];
      for (const other of others) {
        await first.dial(other.addresses());
        await eventually(() => other.peers().length === 1);
      }
      return made;
    }

    async function pair(options?: NetworkOptions): Promise<[Network, Network]> {
      const [a, b] = await networks(2, options);
      return [a as Network, b as Network];
    }

    async function create(options?: NetworkOptions): Promise<Network> {
      const network = await driver.create(options);
      running.push(network);
      // Nobody is a stranger, except where a test says so.
      network.setFavour({ peer: () => true, host: () => true });
      return network;
    }

    /** Polls; the test's own time-out ends a wait for nothing. */
    async function eventually(condition: () => boolean): Promise<void> {
      while (!condition()) await driver.clock.sleep(5);
    }

    function dropsOf(network: Network): string[] {
      const drops: string[] = [];
      network.listen({
        connected: () => undefined,
        disconnected: () => undefined,
        dropped: (what, peer) => drops.push(`${what} ${peer}`),
      });
      return drops;
    }

    /** The first stream that `network` is asked for, left open until the network closes. */
    function accepted(network: Network, limits = LIMITS): Promise<MessageStream> {
      const { promise, resolve } = Promise.withResolvers<MessageStream>();
      network.handle(PROTOCOL, limits, (stream) => {
        resolve(stream);
        return new Promise(() => undefined);
      });
      return promise;
    }

    async function streams(
      options?: NetworkOptions,
    ): Promise<{ a: Network; b: Network; near: MessageStream; far: MessageStream }> {
      const [a, b] = await pair(options);
      const inbound = accepted(b);
      const near = await a.open(b.self, PROTOCOL, LIMITS);
      return { a, b, near, far: await inbound };
    }

    function test(name: string, body: () => Promise<void>): void {
      it(name, () => driver.run(body));
    }

    afterEach(() =>
      driver.run(async () => {
        await Promise.all(running.splice(0).map((network) => network.close()));
      }),
    );

    describe('connections', () => {
      test('dial connects both ends and tells both', async () => {
        const [a, b] = [await create(), await create()];
        const told: string[] = [];
        a.listen({ connected: (peer) => told.push(`a ${peer}`), disconnected: () => undefined });
        b.listen({ connected: (peer) => told.push(`b ${peer}`), disconnected: () => undefined });
        assert.equal(await a.dial(b.addresses()), b.self);
        assert.deepEqual(a.peers(), [b.self]);
        await eventually(() => b.peers().includes(a.self));
        assert.deepEqual(told.sort(), [`a ${b.self}`, `b ${a.self}`]);
      });

      test('own addresses are concrete and end in the own key', async () => {
        const a = await create();
        assert.ok(a.addresses().length > 0);
        for (const address of a.addresses()) {
          assert.match(address, /^\/ip4\/[\d.]+\/tcp\/[1-9]\d*\/p2p\//);
          assert.ok(address.endsWith(`/p2p/${a.self}`));
        }
      });

      test('an address without a key connects to whoever is there', async () => {
        const [a, b] = [await create(), await create()];
        const bare = b.addresses().map((address) => address.split('/p2p/')[0] as PeerAddress);
        assert.equal(await a.dial(bare), b.self);
      });

      test('dialling a connected peer gives the same connection', async () => {
        const [a, b] = await pair();
        let told = 0;
        a.listen({ connected: () => told++, disconnected: () => told++ });
        assert.equal(await a.dial(b.addresses()), b.self);
        assert.deepEqual([a.peers(), told], [[b.self], 0]);
      });

      test('addressesOf is for connected peers alone', async () => {
        const [a, b] = await pair();
        assert.deepEqual(a.addressesOf(b.self), b.addresses());
        assert.deepEqual(a.addressesOf(STRANGER as PeerKey), []);
      });

      test('dial into nowhere is NETWORK_UNREACHABLE', async () => {
        const a = await create();
        await assert.rejects(a.dial([driver.nowhere]), { code: 'NETWORK_UNREACHABLE' });
      });

      test('the right address with a wrong key is NETWORK_UNREACHABLE', async () => {
        const [a, b] = [await create(), await create()];
        const wrong = b.addresses().map((at) => at.replace(b.self, STRANGER) as PeerAddress);
        await assert.rejects(a.dial(wrong), { code: 'NETWORK_UNREACHABLE' });
        assert.deepEqual(a.peers(), []);
      });

      test('no address, two peers, the own key or no multiaddr is NETWORK_BAD_ADDRESS', async () => {
        const [a, b] = [await create(), await create()];
        const wrong: PeerAddress[][] = [
          [],
          [...b.addresses(), driver.nowhere],
          [...a.addresses()],
          ['127.0.0.1:7400' as PeerAddress],
        ];
        for (const addresses of wrong) {
          await assert.rejects(a.dial(addresses), { code: 'NETWORK_BAD_ADDRESS' });
        }
      });

      test('an address in a form that nobody here knows does not hide the others', async () => {
        const [a, b] = [await create(), await create()];
        const later = `/quic-v9/x/p2p/${b.self}` as PeerAddress;
        assert.equal(await a.dial([later, ...b.addresses()]), b.self);
      });

      test('an aborted dial rejects with the reason', async () => {
        const [a, b] = [await create(), await create()];
        const reason = new Error('changed my mind');
        await assert.rejects(a.dial(b.addresses(), AbortSignal.abort(reason)), reason);
      });

      test('disconnect ends both ends', async () => {
        const [a, b] = await pair();
        const lost = { a: 0, b: 0 };
        a.listen({ connected: () => undefined, disconnected: () => lost.a++ });
        b.listen({ connected: () => undefined, disconnected: () => lost.b++ });
        await a.disconnect(b.self);
        await eventually(() => lost.a === 1 && lost.b === 1);
        assert.deepEqual([a.peers(), b.peers()], [[], []]);
      });
    });

    describe('keeping connections', () => {
      test('a bootstrap peer is dialled', async () => {
        const a = await create();
        const b = await create({ bootstrap: a.addresses() });
        await eventually(() => b.peers().includes(a.self) && a.peers().includes(b.self));
      });

      test('a lost peer is dialled again by the end that had dialled it', async () => {
        const [a, b] = await pair();
        let lost = 0;
        a.listen({ connected: () => undefined, disconnected: () => lost++ });
        await b.disconnect(a.self); // b does not dial, a does
        await eventually(() => lost === 1 && b.peers().includes(a.self));
      });
    });

    describe('gate', () => {
      test('refuses what is dialled', async () => {
        const [a, b] = [await create(), await create()];
        a.setGate(() => false);
        await assert.rejects(a.dial(b.addresses()), { code: 'NETWORK_UNREACHABLE' });
        assert.deepEqual([a.peers(), b.peers()], [[], []]);
      });

      test('refuses who dials in', async () => {
        const [a, b] = [await create(), await create()];
        const asked: PeerKey[] = [];
        b.setGate((peer) => {
          asked.push(peer);
          return false;
        });
        await a.dial(b.addresses()).catch(() => undefined); // a may learn only afterwards
        await eventually(() => a.peers().length === 0);
        assert.deepEqual([...new Set(asked)], [a.self]);
        assert.deepEqual(b.peers(), []);
      });

      test('a gate that throws refuses', async () => {
        const [a, b] = [await create(), await create()];
        a.setGate(() => {
          throw new Error('no policy');
        });
        await assert.rejects(a.dial(b.addresses()), { code: 'NETWORK_UNREACHABLE' });
      });

      test('a new gate ends the connections that do not pass it', async () => {
        const [a, b, c] = (await networks(3)) as [Network, Network, Network];
        a.setGate((peer) => peer === c.self);
        await eventually(() => a.peers().length === 1);
        assert.deepEqual(a.peers(), [c.self]);
        await eventually(() => !b.peers().includes(a.self));
      });
    });

    describe('streams', () => {
      test('messages arrive whole, in order, in both directions', async () => {
        const { a, near, far } = await streams();
        assert.equal(far.peer, a.self);
        const sizes = [0, 1, 3, 65_535, 0, 65_536, 1 << 20, 7];
        const sent = sizes.map((size, i) => new Uint8Array(size).fill(i + 1));
        for (const [from, to] of [
          [near, far],
          [far, near],
        ] as const) {
          const sending = Promise.all(sent.map((message) => from.send(message)));
          for (const message of sent) {
            assert.deepEqual(await to.receive(), message);
          }
          await sending;
        }
      });

      test('send takes a copy', async () => {
        const { near, far } = await streams();
        const message = Uint8Array.of(1, 2, 3);
        const sending = near.send(message);
        message.fill(9);
        await sending;
        assert.deepEqual(await far.receive(), Uint8Array.of(1, 2, 3));
      });

      test('close is half: what was sent arrives, then the end, and the other way goes on', async () => {
        const { near, far } = await streams();
        await near.send(Uint8Array.of(1));
        await near.close();
        await near.close();
        assert.deepEqual(await far.receive(), Uint8Array.of(1));
        assert.equal(await far.receive(), undefined);
        assert.equal(await far.receive(), undefined);
        await far.send(Uint8Array.of(2));
        await far.close();
        assert.deepEqual(await near.receive(), Uint8Array.of(2));
        assert.equal(await near.receive(), undefined);
      });

      test('what was sent before both ends closed is still received', async () => {
        const { near, far } = await streams();
        await near.send(Uint8Array.of(1));
        await far.send(Uint8Array.of(2));
        await near.close();
        await far.close();
        await driver.clock.sleep(50);
        assert.deepEqual(await near.receive(), Uint8Array.of(2));
        assert.deepEqual(await far.receive(), Uint8Array.of(1));
        assert.deepEqual([await near.receive(), await far.receive()], [undefined, undefined]);
      });

      test('send after close is NETWORK_STREAM_CLOSED', async () => {
        const { near } = await streams();
        await near.close();
        await assert.rejects(near.send(Uint8Array.of(1)), { code: 'NETWORK_STREAM_CLOSED' });
      });

      test('abort resets both ends, also a receive that waits', async () => {
        const { near, far } = await streams();
        const waiting = assert.rejects(far.receive(), { code: 'NETWORK_STREAM_CLOSED' });
        const reason = new Error('enough');
        near.abort(reason);
        await waiting;
        await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED', cause: reason });
        await assert.rejects(near.send(Uint8Array.of(1)), { code: 'NETWORK_STREAM_CLOSED' });
        await assert.rejects(far.send(Uint8Array.of(1)), { code: 'NETWORK_STREAM_CLOSED' });
      });

      test('receive gives up with the signal and loses nothing', async () => {
        const { near, far } = await streams();
        const reason = new Error('waited long enough');
        const controller = new AbortController();
        const waiting = assert.rejects(far.receive(controller.signal), reason);
        controller.abort(reason);
        await waiting;
        await assert.rejects(far.receive(AbortSignal.abort(reason)), reason);
        await near.send(Uint8Array.of(5));
        assert.deepEqual(await far.receive(new AbortController().signal), Uint8Array.of(5));
      });

      test('a message above the own limit is refused and the stream goes on', async () => {
        const { near, far } = await streams();
        const large = new Uint8Array(LIMITS.maxMessage + 1);
        await assert.rejects(near.send(large), { code: 'NETWORK_MESSAGE_TOO_LARGE' });
        await near.send(Uint8Array.of(1));
        assert.deepEqual(await far.receive(), Uint8Array.of(1));
      });

      test("a message above the receiver's limit resets the stream", async () => {
        const [a, b] = await pair();
        const inbound = accepted(b, { maxMessage: 10, maxStreams: 1 });
        const near = await a.open(b.self, PROTOCOL, LIMITS);
        const far = await inbound;
        await near.send(new Uint8Array(10));
        assert.deepEqual(await far.receive(), new Uint8Array(10));
        await near.send(new Uint8Array(11));
        await assert.rejects(far.receive(), { code: 'NETWORK_MESSAGE_TOO_LARGE' });
        await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED' });
      });

      test("a stranger's message is small; from when it is known on, those that follow may be large", async () => {
        const [a, b] = await pair();
        const limits = { maxMessage: 1_000, maxReceived: 500, maxFromStranger: 10, maxStreams: 4 };
        let isKnown = false;
        b.setFavour({ peer: () => isKnown, host: () => true });
        const arrived: MessageStream[] = [];
        b.handle(PROTOCOL, limits, async (stream) => {
          arrived.push(stream);
          await new Promise(() => undefined);
        });
        const near = await a.open(b.self, PROTOCOL, LIMITS);
        await near.send(new Uint8Array(10));
        await eventually(() => arrived.length > 0);
        const far = arrived[0] as MessageStream;
        assert.equal((await far.receive())?.length, 10);
        isKnown = true;
        await near.send(new Uint8Array(500));
        assert.equal((await far.receive())?.length, 500);
        await far.send(new Uint8Array(1_000));
        isKnown = false;
        await near.send(new Uint8Array(11));
        await assert.rejects(far.receive(), { code: 'NETWORK_MESSAGE_TOO_LARGE' });
      });

      test('send waits for a reader that is slow', async () => {
        const { near, far } = await streams();
        const count = 16;
        let sent = 0;
        const sending = (async () => {
          for (; sent < count; sent++)
            await near.send(new Uint8Array(LIMITS.maxMessage).fill(sent));
        })();
        await driver.clock.sleep(300);
        const before = sent;
        assert.ok(before < count, `sent ${before} MiB to a peer that reads nothing`);
        for (let i = 0; i < count; i++) {
          const message = await far.receive();
          assert.deepEqual([message?.length, message?.[0]], [LIMITS.maxMessage, i]);
        }
        await sending;
      });

      test('a send that waits fails with the stream', async () => {
        const { near, far } = await streams();
        const sending = assert.rejects(
          (async () => {
            for (;;) await near.send(new Uint8Array(LIMITS.maxMessage));
          })(),
          { code: 'NETWORK_STREAM_CLOSED' },
        );
        await driver.clock.sleep(100);
        far.abort(new Error('enough'));
        await sending;
      });

      test('a stream that is silent is reset', async () => {
        const { near, far } = await streams({ idleStreamMs: 1000 });
        for (let i = 0; i < 3; i++) {
          await driver.clock.sleep(400);
          await near.send(Uint8Array.of(i));
          assert.deepEqual(await far.receive(), Uint8Array.of(i));
        }
        await assert.rejects(far.receive(), { code: 'NETWORK_STREAM_CLOSED' });
        await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED' });
      });

      test('a handler that returns closes, one that fails resets', async () => {
        const [a, b] = await pair();
        b.handle('/kelmesh/1/returns' as ProtocolId, LIMITS, (stream) =>
          stream.send(Uint8Array.of(1)),
        );
        b.handle('/kelmesh/1/fails' as ProtocolId, LIMITS, () => {
          throw new Error('handler failed');
        });
        const returns = await a.open(b.self, '/kelmesh/1/returns' as ProtocolId, LIMITS);
        assert.deepEqual(await returns.receive(), Uint8Array.of(1));
        assert.equal(await returns.receive(), undefined);
        const fails = await a.open(b.self, '/kelmesh/1/fails' as ProtocolId, LIMITS);
        await assert.rejects(fails.receive(), { code: 'NETWORK_STREAM_CLOSED' });
      });

      test('streams above maxStreams are reset and told, and there is room when one ends', async () => {
        const [a, b] = await pair();
        const drops = dropsOf(b);
        b.handle(PROTOCOL, LIMITS, async (stream) => {
          for (let message = await stream.receive(); message; message = await stream.receive()) {
            await stream.send(message);
          }
        });
        const echoes = async (stream: MessageStream): Promise<boolean> => {
          try {
            await stream.send(Uint8Array.of(7));
            return (await stream.receive()) !== undefined;
          } catch {
            return false;
          }
        };
        const first = await a.open(b.self, PROTOCOL, LIMITS);
        const second = await a.open(b.self, PROTOCOL, LIMITS);
        assert.deepEqual([await echoes(first), await echoes(second)], [true, true]);
        const third = await a.open(b.self, PROTOCOL, LIMITS);
        assert.equal(await echoes(third), false);
        assert.deepEqual(drops, [`stream ${a.self}`]);
        await first.close();
        assert.equal(await first.receive(), undefined);
        const fourth = await a.open(b.self, PROTOCOL, LIMITS);
        assert.equal(await echoes(fourth), true);
        assert.equal(await echoes(second), true);
      });

      test('open tells an unknown protocol from an unconnected peer', async () => {
        const [a, b] = await pair();
        await assert.rejects(a.open(b.self, '/kelmesh/1/none' as ProtocolId, LIMITS), {
          code: 'NETWORK_PROTOCOL_UNSUPPORTED',
        });
        await assert.rejects(a.open(STRANGER as PeerKey, PROTOCOL, LIMITS), {
          code: 'NETWORK_UNREACHABLE',
        });
      });

      test('the first of several names that the other end serves is taken, and told to its handler', async () => {
        const [a, b] = await pair();
        const names = ['/kelmesh/3/test', '/kelmesh/2/test', '/kelmesh/1/test'] as ProtocolId[];
        const [third, second, first] = names as [ProtocolId, ProtocolId, ProtocolId];
        b.handle([first, second], LIMITS, async (stream, chosen) => {
          await stream.send(Buffer.from(chosen));
        });
        const chosen = async (...offered: [ProtocolId, ...ProtocolId[]]) =>
          Buffer.from(
            (await (await a.open(b.self, offered, LIMITS)).receive()) ?? new Uint8Array(0),
          ).toString();
        assert.equal(await chosen(third, second, first), second);
        assert.equal(await chosen(first, second), first);
        await assert.rejects(a.open(b.self, [third], LIMITS), {
          code: 'NETWORK_PROTOCOL_UNSUPPORTED',
        });
      });

      test('several names that are served as one share the bound on streams', async () => {
        const [a, b] = await pair();
        const [second, first] = ['/kelmesh/2/test', '/kelmesh/1/test'] as [ProtocolId, ProtocolId];
        const drops = dropsOf(b);
        b.handle([first, second], LIMITS, async (stream) => {
          await stream.send(Uint8Array.of(1));
          await stream.receive();
        });
        const greeted = async (name: ProtocolId) => {
          const stream = await a.open(b.self, name, LIMITS);
          return (await stream.receive().catch(() => undefined)) !== undefined;
        };
        assert.deepEqual([await greeted(first), await greeted(second)], [true, true]);
        assert.equal(await greeted(second), false);
        assert.deepEqual(drops, [`stream ${a.self}`]);
      });

      test('what a peer serves becomes known, and nothing of one that is none', async () => {
        const [a, b] = await pair();
        b.handle(PROTOCOL, LIMITS, async () => undefined);
        await a.open(b.self, PROTOCOL, LIMITS);
        assert.ok((await a.protocolsOf(b.self)).includes(PROTOCOL));
        assert.deepEqual(await a.protocolsOf(STRANGER as PeerKey), []);
      });

      test('one handler per protocol', async () => {
        const a = await create();
        a.handle(PROTOCOL, LIMITS, async () => undefined);
        assert.throws(() => a.handle(PROTOCOL, LIMITS, async () => undefined), {
          code: 'NETWORK_DUPLICATE_HANDLER',
        });
      });

      test('disconnect resets the streams: a cut is never taken for an end', async () => {
        const { a, b, near, far } = await streams();
        await near.send(Uint8Array.of(1));
        await far.receive();
        const waiting = assert.rejects(far.receive(), { code: 'NETWORK_STREAM_CLOSED' });
        await a.disconnect(b.self);
        await waiting;
        await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED' });
      });
    });

    describe('gossip', () => {
      const text = (message: Uint8Array) => Buffer.from(message).toString();

      /** Publishes until `arrived`; one message alone may be lost while subscriptions travel. */
      async function publishUntil(
        from: Network,
        message: string,
        arrived: () => boolean,
      ): Promise<void> {
        while (!arrived()) {
          await from.publish(TOPIC, Buffer.from(message));
          await driver.clock.sleep(50);
        }
      }

      test('reaches every subscriber, with the author named, and not the author itself', async () => {
        // b and c know only a, which passes on what it accepts.
        const [a, b, c] = (await networks(3)) as [Network, Network, Network];
        const got = new Map<PeerKey, Set<string>>();
        for (const network of [a, b, c]) {
          got.set(network.self, new Set());
          network.subscribe(TOPIC, async (message, from) => {
            got.get(network.self)?.add(`${text(message)} of ${from}`);
            return 'accept';
          });
        }
        const expected = new Set([`news of ${b.self}`]);
        await publishUntil(b, 'news', () => got.get(c.self)?.size === 1);
        assert.deepEqual(got.get(a.self), expected);
        assert.deepEqual(got.get(c.self), expected);
        assert.deepEqual(got.get(b.self), new Set());
      });

      for (const verdict of ['ignore', 'reject'] as const) {
        test(`what is judged ${verdict} goes no further`, async () => {
          const [a, b, c] = (await networks(3)) as [Network, Network, Network];
          let judged = 0;
          a.subscribe(TOPIC, async (message) => {
            judged += 1;
            return text(message) === 'good' ? 'accept' : verdict;
          });
          const got = new Set<string>();
          c.subscribe(TOPIC, async (message) => {
            got.add(text(message));
            return 'accept';
          });
          await publishUntil(b, 'bad', () => judged >= 2);
          await publishUntil(b, 'good', () => got.size > 0);
          assert.deepEqual(got, new Set(['good']));
        });
      }

      test('a peer whose messages are rejected is no longer heard, and this is told', async () => {
        const [a, b] = await pair();
        const drops = dropsOf(a);
        let judged = 0;
        a.subscribe(TOPIC, async () => {
          judged += 1;
          return 'reject';
        });
        await publishUntil(b, 'bad', () => judged >= 8);
        await driver.clock.sleep(50);
        const heard = judged;
        for (let i = 0; i < 10; i++) await b.publish(TOPIC, Buffer.from('more'));
        await driver.clock.sleep(200);
        assert.equal(judged, heard);
        // gossipsub may stop listening to the peer before the guard has anything to drop.
        if (driver.name === 'simulated') assert.equal(drops.length, 10);
        assert.ok(drops.every((drop) => drop === `gossip ${b.self}`));
      });

      test('a handler that fails drops the message alone', async () => {
        const [a, b] = await pair();
        const got: string[] = [];
        a.subscribe(TOPIC, async (message) => {
          if (text(message) === 'bad') throw new Error('handler failed');
          got.push(text(message));
          return 'accept';
        });
        await publishUntil(b, 'good', () => got.length > 0);
        await b.publish(TOPIC, Buffer.from('bad'));
        await publishUntil(b, 'next', () => got.includes('next'));
      });

      test('the largest message passes, one byte more is refused', async () => {
        const [a, b] = await pair();
        let size = 0;
        a.subscribe(TOPIC, async (message) => {
          size = message.length;
          return 'accept';
        });
        await publishUntil(b, 'x'.repeat(MAX_GOSSIP_MESSAGE), () => size > 0);
        assert.equal(size, MAX_GOSSIP_MESSAGE);
        await assert.rejects(b.publish(TOPIC, new Uint8Array(MAX_GOSSIP_MESSAGE + 1)), {
          code: 'NETWORK_MESSAGE_TOO_LARGE',
        });
      });

      test('publishing without peers is no error, subscribing twice is', async () => {
        const a = await create();
        await a.publish(TOPIC, Uint8Array.of(1));
        a.subscribe(TOPIC, async () => 'accept');
        assert.throws(() => a.subscribe(TOPIC, async () => 'accept'), {
          code: 'NETWORK_DUPLICATE_HANDLER',
        });
      });
    });

    describe('close', () => {
      test('resets streams, tells both ends, and refuses everything after', async () => {
        const { a, b, near, far } = await streams();
        const told: string[] = [];
        a.listen({ connected: () => undefined, disconnected: (peer) => told.push(`a ${peer}`) });
        b.listen({ connected: () => undefined, disconnected: (peer) => told.push(`b ${peer}`) });
        const waiting = assert.rejects(far.receive(), { code: 'NETWORK_STREAM_CLOSED' });
        await a.close();
        await a.close();
        await waiting;
        await assert.rejects(near.receive(), { code: 'NETWORK_STREAM_CLOSED' });
        await eventually(() => told.length === 2);
        assert.deepEqual(told.sort(), [`a ${b.self}`, `b ${a.self}`]);
        assert.deepEqual([a.peers(), a.addresses(), a.addressesOf(b.self)], [[], [], []]);
        const closed = { code: 'NETWORK_CLOSED' };
        await assert.rejects(a.dial(b.addresses()), closed);
        await assert.rejects(a.open(b.self, PROTOCOL, LIMITS), closed);
        await assert.rejects(a.publish(TOPIC, Uint8Array.of(1)), closed);
        await assert.rejects(a.disconnect(b.self), closed);
        assert.throws(() => a.handle(PROTOCOL, LIMITS, async () => undefined), closed);
        assert.throws(() => a.subscribe(TOPIC, async () => 'accept'), closed);
      });
    });
  });
}
