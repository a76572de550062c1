/** What only the real driver has: sockets, the wire format, the process around it. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { afterEach, before, describe, it } from 'mocha';
import { encodeFrame } from '#agent/network/framing';
import { createLibp2pNetwork, type Libp2pNetworkOptions } from '#agent/network/libp2p';
import { createNode, type Libp2pNode, toMultiaddr } from '#agent/network/libp2p-node';
import type { MessageStream, Network, PeerAddress, ProtocolId } from '#agent/network/network';
import { Secret } from '#src/secret';
import { systemClock } from '../../../support/doubles/system-clock.ts';
import { skip } from '../../../support/skip.ts';

const LOOPBACK = '/ip4/127.0.0.1/tcp/0' as PeerAddress;
const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 1000, maxStreams: 4 };

describe('libp2p network', () => {
  const running: { close(): Promise<void> }[] = [];

  afterEach(async () => {
    await Promise.all(running.splice(0).map((network) => network.close()));
  });

  async function create(options: Partial<Libp2pNetworkOptions> = {}): Promise<Network> {
    const network = await createLibp2pNetwork({
      privateKey: Secret.take(randomBytes(32)),
      listen: [LOOPBACK],
      bootstrap: [],
      mdns: false,
      clock: systemClock,
      ...options,
    });
    running.push(network);
    return network;
  }

  describe('a stranger', () => {
    /** What `near` could do before it was stopped; nobody reads. */
    async function between(isKnown: boolean) {
      const [near, far] = [await create(), await create()];
      far.setFavour({ peer: () => isKnown, host: () => true });
      near.setFavour({ peer: () => true, host: () => true });
      let drops = 0;
      far.listen({
        connected: () => undefined,
        disconnected: () => undefined,
        dropped: () => {
          drops += 1;
        },
      });
      const limits = { maxMessage: 1 << 20, maxStreams: 4 };
      far.handle(PROTOCOL, limits, async (stream) => {
        while ((await stream.receive()) !== undefined);
      });
      await near.dial(far.addresses());
      return { open: () => near.open(far.self, PROTOCOL, limits), drops: () => drops };
    }

    for (const isKnown of [false, true]) {
      it(`${isKnown ? 'that is none sends' : 'sends'} ${isKnown ? 'what it likes' : 'a bounded number of bytes, on all its streams together, and the rest is dropped and told'}`, async () => {
        const { open, drops } = await between(isKnown);
        const streams = [await open(), await open()];
        let sent = 0;
        const sending = async () => {
          for (let n = 0; n < 12; n++) {
            await streams[n % 2]?.send(new Uint8Array(1 << 20));
            sent += 1;
          }
          for (const stream of streams) {
            await stream.close();
            await stream.receive();
          }
        };
        if (isKnown) await sending();
        else await assert.rejects(sending(), { code: 'NETWORK_STREAM_CLOSED' });
        assert.deepEqual([sent === 12, drops() > 0], [isKnown, !isKnown]);
      });
    }

    it('opens a bounded number of streams, of all protocols together', async () => {
      const { open, drops } = await between(false);
      let refused = 0;
      for (let n = 0; n < 80; n++) {
        const stream = await open().catch(() => undefined);
        const answer = stream?.close().then(() => stream.receive());
        await answer?.catch(() => {
          refused += 1;
        });
      }
      assert.ok(refused >= 5 && refused <= 16, `${refused} of 80 were refused`);
      assert.equal(drops(), refused);
    });
  });

  /** A peer that speaks libp2p but not our framing. */
  async function createRaw(): Promise<Libp2pNode> {
    const node = await createNode({
      privateKey: Secret.take(randomBytes(32)),
      listen: [],
      announce: [],
      mdns: false,
      maxSockets: 10,
      enters: () => () => undefined,
      clock: systemClock,
      admits: () => true,
      discovered: () => undefined,
      gossipScore: () => 0,
      graylist: -80,
    });
    await node.start();
    running.push({ close: async () => node.stop() });
    return node;
  }

  /** A raw stream to a network, and what the network sees of it. */
  async function rawStream() {
    const network = await create();
    const { promise, resolve } = Promise.withResolvers<MessageStream>();
    network.handle(PROTOCOL, LIMITS, (stream) => {
      resolve(stream);
      return new Promise(() => undefined);
    });
    const node = await createRaw();
    const connection = await node.dial(network.addresses().map(toMultiaddr));
    const raw = await connection.newStream(PROTOCOL);
    return { raw, stream: await promise };
  }

  describe('listening', () => {
    it('announces the addresses it is told to', async () => {
      const announced = '/ip4/203.0.113.7/tcp/7400' as PeerAddress;
      const network = await create({ announce: [announced] });
      assert.ok(network.addresses().includes(`${announced}/p2p/${network.self}` as PeerAddress));
    });

    it('without an address dials alone', async () => {
      const [dialler, other] = [await create({ listen: [] }), await create()];
      assert.deepEqual(dialler.addresses(), []);
      assert.equal(await dialler.dial(other.addresses()), other.self);
    });

    it('on a taken port is NETWORK_PORT_IN_USE', async () => {
      const network = await create();
      const listen = network.addresses().map((at) => at.split('/p2p/')[0] as PeerAddress);
      await assert.rejects(create({ listen }), { code: 'NETWORK_PORT_IN_USE' });
    });

    it('on an address of another machine is NETWORK_LISTEN_FAILED', async () => {
      const listen = ['/ip4/203.0.113.7/tcp/0' as PeerAddress];
      await assert.rejects(create({ listen }), { code: 'NETWORK_LISTEN_FAILED' });
    });

    it('refuses what is no multiaddr, wherever it stands', async () => {
      const bad = ['localhost:7400' as PeerAddress];
      for (const options of [{ listen: bad }, { announce: bad }, { bootstrap: bad }]) {
        await assert.rejects(create(options), { code: 'NETWORK_BAD_ADDRESS' });
      }
    });

    it('refuses a key of the wrong length', async () => {
      const privateKey = new Secret(new Uint8Array(31));
      await assert.rejects(create({ privateKey }), { code: 'NETWORK_BAD_KEY' });
    });

    it('admits no more connections than its limit', async () => {
      const network = await create({ limits: { maxConnections: 1 } });
      const [first, second] = [await create(), await create()];
      await first.dial(network.addresses());
      while (network.peers().length === 0) await systemClock.sleep(5);
      await assert.rejects(second.dial(network.addresses()), { code: 'NETWORK_UNREACHABLE' });
      assert.deepEqual(network.peers(), [first.self]);
    });
  });

  describe('wire format', () => {
    it('is frames, however they are cut', async () => {
      const { raw, stream } = await rawStream();
      for (const byte of encodeFrame(Uint8Array.of(1, 2, 3))) {
        raw.send(Uint8Array.of(byte));
        await systemClock.sleep(1);
      }
      raw.send(Buffer.concat([encodeFrame(Uint8Array.of(4)), encodeFrame(new Uint8Array(0))]));
      assert.deepEqual(await stream.receive(), Uint8Array.of(1, 2, 3));
      assert.deepEqual(await stream.receive(), Uint8Array.of(4));
      assert.deepEqual(await stream.receive(), new Uint8Array(0));
      await raw.close();
      assert.equal(await stream.receive(), undefined);
    });

    it('a length above the bound resets the stream before the message comes', async () => {
      const { raw, stream } = await rawStream();
      const reset = new Promise((resolve) => raw.addEventListener('close', resolve));
      raw.send(Uint8Array.of(255, 255, 255, 255));
      await assert.rejects(stream.receive(), { code: 'NETWORK_MESSAGE_TOO_LARGE' });
      await reset;
      assert.equal(raw.status, 'reset');
    });

    it('an end inside a message is no end', async () => {
      const { raw, stream } = await rawStream();
      raw.send(encodeFrame(Uint8Array.of(1, 2, 3)).subarray(0, 6));
      await raw.close();
      await assert.rejects(stream.receive(), {
        code: 'NETWORK_STREAM_CLOSED',
        message: /closed inside a message/,
      });
    });
  });

  describe('process', () => {
    it('ends by itself after close', () => {
      const script = `
        const a = await create(1, LOOPBACK, ['/ip4/127.0.0.1/tcp/1'], false);
        const b = await create(2, LOOPBACK, a.addresses(), false);
        while (b.peers().length === 0) await systemClock.sleep(5);
        a.subscribe('topic', async () => 'accept');
        a.handle('/kelmesh/1/test', { maxMessage: 9, maxStreams: 1 }, () => new Promise(() => {}));
        await b.open(a.self, '/kelmesh/1/test', { maxMessage: 9, maxStreams: 1 });
        await Promise.all([a.close(), b.close()]);
        console.log('closed');
      `;
      const result = run([], PRELUDE + script);
      assert.deepEqual(result, { status: 0, stdout: 'closed\n', stderr: '' });
    });

    it('loads libp2p only for a network', () => {
      const script = `
        import { registerHooks } from 'node:module';
        registerHooks({ resolve(specifier, context, next) {
          if (/^(@?libp2p|@multiformats)/.test(specifier)) console.log(specifier);
          return next(specifier, context);
        } });
        await import('#agent/network/libp2p');
      `;
      assert.deepEqual(run([], script), { status: 0, stdout: '', stderr: '' });
    });
  });

  // Multicast and a listener on every interface stay inside a network namespace of their own.
  describe('on a network of its own', () => {
    before(function () {
      if (run(NAMESPACE, '').status !== 0)
        skip(this, 'needs unprivileged network namespaces and ip');
    });

    it('a listener on every interface gives the address of each', () => {
      const script = `
        const a = await create(1, '/ip4/0.0.0.0/tcp/0', [], false);
        console.log(a.addresses().map((address) => address.split('/')[2]).sort().join(' '));
        await a.close();
      `;
      const result = run(NAMESPACE, PRELUDE + script);
      assert.deepEqual(result, { status: 0, stdout: '127.0.0.1 198.18.0.1\n', stderr: '' });
    });

    it('peers find each other by mDNS, and the process ends', () => {
      const script = `
        const a = await create(1, '/ip4/0.0.0.0/tcp/0', [], true);
        const b = await create(2, '/ip4/0.0.0.0/tcp/0', [], true);
        while (a.peers().length + b.peers().length < 2) await systemClock.sleep(5);
        await Promise.all([a.close(), b.close()]);
        console.log('closed');
      `;
      const result = run(NAMESPACE, PRELUDE + script);
      assert.deepEqual(result, { status: 0, stdout: 'closed\n', stderr: '' });
    });
  });
});

const PRELUDE = `
  import { createLibp2pNetwork } from '#agent/network/libp2p';
  import { Secret } from '#src/secret';
  import { systemClock } from './test/support/doubles/system-clock.ts';
  const LOOPBACK = '/ip4/127.0.0.1/tcp/0';
  const create = (seed: number, listen: string, bootstrap: readonly string[], mdns: boolean) =>
    createLibp2pNetwork({
      privateKey: new Secret(new Uint8Array(32).fill(seed)),
      listen: [listen], bootstrap, mdns, clock: systemClock,
    });
`;

const NAMESPACE = [
  'unshare',
  '--user',
  '--map-root-user',
  '--net',
  'sh',
  '-c',
  'ip link set lo up multicast on && ip address add 198.18.0.1/32 dev lo && ip route add 224.0.0.0/4 dev lo && exec "$@"',
  'sh',
];

/** Runs `script` in a process of its own, under the command `wrapper`. */
function run(wrapper: readonly string[], script: string) {
  const node = [process.execPath, '--input-type=module-typescript', '--eval', script];
  const [command, ...args] = [...wrapper, ...node] as [string, ...string[]];
  const { status, stdout, stderr } = spawnSync(command, args, {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stdout, stderr };
}
