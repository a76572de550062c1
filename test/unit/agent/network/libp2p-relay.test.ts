/** Circuits between real libp2p nodes: who has a place at a relay, who gets through it, and what a stranger gets. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, describe, it } from 'mocha';
import { createLibp2pNetwork } from '#agent/network/libp2p';
import type { Network, PeerAddress, PeerKey, ProtocolId } from '#agent/network/network';
import { Secret } from '#src/secret';
import { systemClock } from '../../../support/doubles/system-clock.ts';

const PROTOCOL = '/kelmesh/1/test' as ProtocolId;
const LIMITS = { maxMessage: 1 << 20, maxFromStranger: 16, maxStreams: 4 };

describe('circuits through a relay', function () {
  this.timeout(30_000);
  const running: Network[] = [];
  afterEach(async () => {
    await Promise.all(running.splice(0).map((network) => network.close()));
  });

  /** @param members by their names, of all that were made before and after */
  async function create(relay: 'serve' | 'use' | undefined, members: Set<PeerKey>, listens = true) {
    const network = await createLibp2pNetwork({
      privateKey: Secret.take(randomBytes(32)),
      listen: listens ? ['/ip4/127.0.0.1/tcp/0' as PeerAddress] : [],
      bootstrap: [],
      mdns: false,
      clock: systemClock,
      ...(relay === undefined ? {} : { relay }),
    });
    network.setFavour({ peer: (peer) => members.has(peer), host: () => false });
    running.push(network);
    return network;
  }

  async function eventually(condition: () => boolean): Promise<void> {
    while (!condition()) await sleep(20);
  }

  const throughRelay = (network: Network) =>
    network.addresses().filter((address) => address.includes('/p2p-circuit/'));

  /** `inner` listens nowhere, and has a place at `relay`. */
  async function world() {
    const members = new Set<PeerKey>();
    const relay = await create('serve', members);
    const inner = await create('use', members, false);
    members.add(relay.self).add(inner.self);
    await inner.dial(relay.addresses());
    await eventually(() => throughRelay(inner).length > 0);
    return { members, relay, inner };
  }

  it('connect members, whole messages go both ways, and both ends see how', async () => {
    const { members, relay, inner } = await world();
    const outer = await create('use', members, false);
    members.add(outer.self);
    inner.handle(PROTOCOL, LIMITS, async (stream) => {
      await stream.send((await stream.receive()) ?? new Uint8Array());
    });
    const [address] = throughRelay(inner);
    assert.ok(address?.startsWith(`${relay.addresses()[0]}/p2p-circuit/`));
    assert.equal(await outer.dial([address as PeerAddress]), inner.self);
    assert.equal(outer.relayOf(inner.self), relay.self);
    assert.equal(outer.relayOf(relay.self), undefined);
    await eventually(() => inner.relayOf(outer.self) === relay.self);
    const stream = await outer.open(inner.self, PROTOCOL, LIMITS);
    const sent = randomBytes(900_000);
    await stream.send(sent);
    assert.deepEqual(Buffer.from((await stream.receive()) ?? []), sent);
  });

  it('are found without an address, at a relay that both are connected to', async () => {
    const { members, relay, inner } = await world();
    const outer = await create('use', members, false);
    members.add(outer.self);
    await outer.dial(relay.addresses());
    await eventually(() => throughRelay(outer).length > 0);
    const nowhere = `/ip4/127.0.0.1/tcp/1/p2p/${inner.self}` as PeerAddress;
    assert.equal(await outer.dial([nowhere]), inner.self);
    assert.equal(outer.relayOf(inner.self), relay.self);
  });

  it('stand in until there is a direct connection, which is used then', async () => {
    const { members, relay, inner } = await world();
    const outer = await create('use', members);
    members.add(outer.self);
    await outer.dial(throughRelay(inner));
    await inner.dial(relay.addresses());
    assert.equal(outer.relayOf(inner.self), relay.self);
    await eventually(() => inner.relayOf(outer.self) === relay.self);
    const direct = outer.addresses().filter((address) => !address.includes('/p2p-circuit/'));
    await inner.dial(direct);
    assert.equal(inner.relayOf(outer.self), undefined);
    await eventually(() => outer.relayOf(inner.self) === undefined);
  });

  it('are for members: a stranger is given no place', async () => {
    const members = new Set<PeerKey>();
    const relay = await create('serve', members);
    const stranger = await create('use', members, false);
    // The stranger takes the relay for a member; the relay does not return that.
    stranger.setFavour({ peer: () => true, host: () => false });
    await stranger.dial(relay.addresses());
    await sleep(2_500);
    assert.deepEqual(throughRelay(stranger), []);
    assert.ok(relay.turnedAway > 0);
  });

  it('let a stranger reach a member as it would directly, and no more than that', async () => {
    const { members, inner } = await world();
    const stranger = await create(undefined, members, false);
    const [address] = throughRelay(inner);
    let got: Uint8Array | undefined;
    const over = Promise.withResolvers<unknown>();
    inner.handle(PROTOCOL, LIMITS, async (stream) => {
      got = await stream.receive();
      over.resolve(await stream.receive().catch((error: unknown) => error));
    });
    await stranger.dial([address as PeerAddress]);
    const stream = await stranger.open(inner.self, PROTOCOL, LIMITS);
    await stream.send(new Uint8Array(16));
    await stream.send(new Uint8Array(17)).catch(() => undefined);
    assert.equal(((await over.promise) as { code?: string }).code, 'NETWORK_MESSAGE_TOO_LARGE');
    assert.equal(got?.length, 16);
    // A few circuits, and then none for a while.
    for (let n = 0; n < 3; n++) {
      await stranger.disconnect(inner.self);
      await stranger.dial([address as PeerAddress]);
    }
    await stranger.disconnect(inner.self);
    await assert.rejects(stranger.dial([address as PeerAddress]), { code: 'NETWORK_UNREACHABLE' });
  });

  it('come through members alone: a stranger that serves brings nobody', async () => {
    const members = new Set<PeerKey>();
    const ofStranger = new Set<PeerKey>();
    const relay = await create('serve', ofStranger);
    const inner = await create('use', members, false);
    const outer = await create('use', members, false);
    // The stranger would serve them, and they do not take it for a member.
    ofStranger.add(inner.self).add(outer.self);
    members.add(inner.self).add(outer.self);
    await inner.dial(relay.addresses());
    await outer.dial(relay.addresses());
    await sleep(2_500);
    assert.deepEqual(throughRelay(inner), []);
    const address = `${relay.addresses()[0]}/p2p-circuit/p2p/${inner.self}` as PeerAddress;
    await assert.rejects(outer.dial([address]), { code: 'NETWORK_UNREACHABLE' });
  });
});
