import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { afterEach, describe, it } from 'mocha';
import { createLibp2pNetwork } from '#agent/network/libp2p';
import type { Network, PeerAddress, ProtocolId } from '#agent/network/network';
import { Secret } from '#src/secret';
import { systemClock } from '../../../support/doubles/system-clock.ts';

const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 1 << 20, maxStreams: 4 };

describe('the network within TLS', function () {
  this.timeout(30_000);
  const running: { close(): unknown }[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.close()));
  });

  async function create(...listenToo: readonly string[]): Promise<Network> {
    const network = await createLibp2pNetwork({
      privateKey: Secret.take(randomBytes(32)),
      listen: [],
      listenToo: listenToo as readonly PeerAddress[],
      bootstrap: [],
      mdns: false,
      clock: systemClock,
    });
    network.setFavour({ peer: () => true, host: () => false });
    running.push(network);
    return network;
  }

  const portOf = (network: Network) =>
    Number(/\/tcp\/(\d+)\/tls\//.exec(network.addresses()[0] ?? '')?.[1]);

  it('carries what TCP carries, and tells the address of the other end', async () => {
    const [near, far] = [await create(), await create('/ip4/127.0.0.1/tcp/0/tls')];
    assert.match(far.addresses()[0] ?? '', /^\/ip4\/127\.0\.0\.1\/tcp\/\d+\/tls\/p2p\/12D3/);
    far.handle(PROTOCOL, LIMITS, async (stream) => {
      await stream.send((await stream.receive()) ?? new Uint8Array());
    });
    assert.equal(await near.dial(far.addresses()), far.self);
    const stream = await near.open(far.self, PROTOCOL, LIMITS);
    const sent = randomBytes(1_000_000);
    await stream.send(sent);
    assert.deepEqual(Buffer.from((await stream.receive()) ?? []), sent);
    assert.match(far.addressesOf(near.self)[0] ?? '', /^\/ip4\/127\.0\.0\.1\/tcp\/\d+/);
    const gone = new Promise<void>((resolve) => {
      far.listen({ connected: () => undefined, disconnected: () => resolve() });
    });
    await near.disconnect(far.self);
    await gone;
  });

  it('looks like any server of TLS 1.3 to whoever comes without a key', async () => {
    const far = await create('/ip4/127.0.0.1/tcp/0/tls');
    const socket = connectTls({ port: portOf(far), rejectUnauthorized: false });
    await once(socket, 'secureConnect');
    assert.equal(socket.getProtocol(), 'TLSv1.3');
    assert.equal(socket.getPeerCertificate().subject['CN'], 'server');
    socket.destroy();
  });

  it('makes room for others where somebody says nothing', async () => {
    const far = await create('/ip4/127.0.0.1/tcp/0/tls');
    const silent = Array.from({ length: 40 }, () => connect(portOf(far), '127.0.0.1'));
    const ended = silent.map((socket) =>
      once(
        socket.on('error', () => undefined),
        'close',
      ),
    );
    // Sixteen of one source have a place, the oldest go first.
    await Promise.all(ended.slice(0, 24));
    const near = await create();
    assert.equal(await near.dial(far.addresses()), far.self);
    await Promise.all(ended);
  });

  it('is gone without where another program has the port', async () => {
    const other = createServer();
    other.listen(0, '127.0.0.1');
    await once(other, 'listening');
    running.push(other);
    const { port } = other.address() as { port: number };
    const network = await create(`/ip4/127.0.0.1/tcp/${port}/tls`, '/ip4/127.0.0.1/tcp/0/tls');
    assert.equal(network.addresses().length, 1);
  });
});
