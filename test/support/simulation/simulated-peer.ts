/** One network of a simulated world; the counterpart of `agent/network/libp2p.ts`. */
import { duplicateHandler, messageTooLarge, NetworkError } from '#agent/network/errors';
import { GossipGuard } from '#agent/network/gossip-guard';
import {
  type Favour,
  type GossipVerdict,
  listOf,
  MAX_GOSSIP_MESSAGE,
  type MessageStream,
  type Network,
  type NetworkDrop,
  type NetworkListener,
  type PeerAddress,
  type PeerKey,
  type ProtocolId,
  type ProtocolLimits,
  type Protocols,
  parsePeerAddress,
} from '#agent/network/network';
import { peerOf } from '#agent/network/peer-key';
import { Redialler } from '#agent/network/redial';
import type { SimulatedHost, SimulatedWorld } from './simulated-network.ts';
import { SimulatedStream, type Wire } from './simulated-stream.ts';

/** Neighbours to which an accepted message is passed on; the author gives it to all of its own. */
const FAN_OUT = 8;
const MAX_SEEN = 8_192;
/** A dial into nowhere takes this long, in simulated milliseconds. */
const DIAL_TIMEOUT_MS = 5_000;

export interface SimulatedPeerOptions {
  readonly bootstrap?: readonly PeerAddress[];
  /** @default 120 000 */
  readonly idleStreamMs?: number;
}

interface Protocol {
  /** Where its streams are counted: the first name of those that are served as one. */
  readonly slot: ProtocolId;
  readonly limits: ProtocolLimits;
  readonly handler: (stream: MessageStream, protocol: ProtocolId) => Promise<void>;
}

interface Gossip {
  readonly id: string;
  readonly topic: string;
  readonly author: PeerKey;
  readonly message: Uint8Array;
}

type GossipHandler = (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>;

interface Connection {
  readonly other: SimulatedPeer;
  /** Own ends. */
  readonly streams: Set<SimulatedStream>;
}

export class SimulatedPeer implements Network {
  readonly self: PeerKey;
  readonly #world: SimulatedWorld;
  readonly #host: SimulatedHost;
  readonly #wire: Wire;
  readonly #connections = new Map<PeerKey, Connection>();
  readonly #protocols = new Map<ProtocolId, Protocol>();
  readonly #inbound = new Map<string, number>();
  readonly #topics = new Map<string, GossipHandler>();
  readonly #seen = new Set<string>();
  readonly #listeners: NetworkListener[] = [];
  readonly #guard: GossipGuard;
  readonly #redialler: Redialler;
  #favour: Favour = { peer: () => false, host: () => false };
  #gate: (peer: PeerKey) => boolean = () => true;
  #published = 0;
  #down = false;

  constructor(world: SimulatedWorld, host: SimulatedHost, options: SimulatedPeerOptions) {
    this.self = host.self;
    this.#world = world;
    this.#host = host;
    this.#wire = world.wire(options.idleStreamMs ?? 120_000);
    this.#guard = new GossipGuard(world.clock);
    this.#redialler = new Redialler({
      clock: world.clock,
      dial: (peer, addresses, signal) => this.#redial(peer, addresses, signal),
      isConnected: (peer) => this.#connections.has(peer),
      admits: (peer) => this.#admits(peer),
      dropped: (what, peer) => this.#dropped(what, peer),
    });
    this.#redialler.keep(options.bootstrap ?? []);
  }

  /** Nobody is short of places here. */
  readonly turnedAway = 0;

  setFavour(favour: Favour): void {
    this.#favour = favour;
  }

  addresses(): readonly PeerAddress[] {
    return this.#down ? [] : [this.#host.address];
  }

  peers(): readonly PeerKey[] {
    return [...this.#connections.keys()];
  }

  addressesOf(peer: PeerKey): readonly PeerAddress[] {
    const connection = this.#connections.get(peer);
    return connection ? [connection.other.#host.address] : [];
  }

  relayOf(): undefined {
    return undefined;
  }

  underlayChanged(): void {
    // The world cuts connections itself, and tells.
  }

  async dial(addresses: readonly PeerAddress[], signal?: AbortSignal): Promise<PeerKey> {
    this.#assertUp();
    const peers = new Set(addresses.map(peerOf));
    if (addresses.length === 0 || peers.size > 1 || peers.has(this.self)) {
      const got = addresses.join(', ') || 'none';
      throw new NetworkError('NETWORK_BAD_ADDRESS', `expected addresses of one peer, got ${got}`);
    }
    for (const address of addresses) {
      if (!parsePeerAddress(address)) {
        throw new NetworkError('NETWORK_BAD_ADDRESS', `not a multiaddr: ${address}`);
      }
    }
    return this.#connect(addresses, signal);
  }

  async disconnect(peer: PeerKey): Promise<void> {
    this.#assertUp();
    this.#redialler.dismiss(peer);
    this.#drop(peer, 'disconnected');
  }

  async open(peer: PeerKey, protocols: Protocols, limits: ProtocolLimits): Promise<MessageStream> {
    this.#assertUp();
    const connection = this.#connections.get(peer);
    if (!connection) throw unreachable(`not connected to ${peer}`);
    await this.#travel(connection, peer);
    const protocol = listOf(protocols).find((name) => connection.other.#protocols.has(name));
    const served = protocol && connection.other.#protocols.get(protocol);
    if (!protocol || !served) {
      await this.#travel(connection, peer);
      const what = `${protocols} with ${peer}`;
      throw new NetworkError('NETWORK_PROTOCOL_UNSUPPORTED', `${what}: not offered`);
    }
    const [own, theirs] = SimulatedStream.pair(
      this.#wire,
      { peer, limits, isStranger: (other) => !this.#favour.peer(other) },
      {
        peer: this.self,
        limits: served.limits,
        isStranger: (other) => !connection.other.#favour.peer(other),
      },
    );
    this.#track(own, connection);
    connection.other.#accept(theirs, protocol, served);
    await this.#travel(connection, peer);
    return own;
  }

  handle(
    protocols: Protocols,
    limits: ProtocolLimits,
    handler: (stream: MessageStream, protocol: ProtocolId) => Promise<void>,
  ): void {
    this.#assertUp();
    const [slot, ...more] = listOf(protocols);
    for (const protocol of [slot, ...more]) {
      if (this.#protocols.has(protocol)) throw duplicateHandler(protocol);
      this.#protocols.set(protocol, { slot, limits, handler });
    }
  }

  async protocolsOf(peer: PeerKey): Promise<readonly string[]> {
    const connection = this.#connections.get(peer);
    return connection ? [...connection.other.#protocols.keys()] : [];
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    this.#assertUp();
    if (message.length > MAX_GOSSIP_MESSAGE) {
      throw messageTooLarge(`message on ${topic}`, message.length, MAX_GOSSIP_MESSAGE);
    }
    this.#published += 1;
    const id = `${this.self} ${this.#published}`;
    this.#firstSeen(id);
    const gossip = { id, topic, author: this.self, message: message.slice() };
    this.#spread(gossip, [...this.#connections.keys()]);
  }

  subscribe(topic: string, handler: GossipHandler): void {
    this.#assertUp();
    if (this.#topics.has(topic)) throw duplicateHandler(topic);
    this.#topics.set(topic, handler);
  }

  listen(listener: NetworkListener): void {
    this.#listeners.push(listener);
  }

  setGate(gate: (peer: PeerKey) => boolean): void {
    this.#gate = gate;
    for (const peer of this.peers()) {
      if (!this.#admits(peer)) this.#drop(peer, 'no longer admitted');
    }
  }

  async close(): Promise<void> {
    if (this.#down) return;
    const redialling = this.#redialler.close();
    this.#down = true;
    this.#host.network = undefined;
    for (const peer of this.peers()) this.#drop(peer, 'closed');
    await redialling;
  }

  crash(): void {
    this.#listeners.length = 0;
    this.close().catch(() => undefined); // nobody is left to hear of it
  }

  dropUnreachable(): void {
    for (const [peer, { other }] of this.#connections) {
      if (this.#world.separated(this.#host, other.#host)) this.#drop(peer, 'partitioned');
    }
  }

  async #redial(
    peer: PeerKey | undefined,
    addresses: readonly PeerAddress[],
    signal: AbortSignal,
  ): Promise<PeerKey> {
    const known = peer && addresses.length === 0 ? this.#world.addressOfPeer(peer) : addresses;
    return this.#connect(known, signal);
  }

  async #connect(addresses: readonly PeerAddress[], signal?: AbortSignal): Promise<PeerKey> {
    const host = addresses.map((address) => this.#world.find(address)).find((found) => found);
    const what = addresses.join(', ');
    const { clock } = this.#world;
    if (!host || this.#world.separated(this.#host, host)) {
      await clock.sleep(DIAL_TIMEOUT_MS, signal);
      throw unreachable(`${what}: timed out`);
    }
    if (this.#connections.has(host.self)) return host.self;
    await clock.sleep(2 * this.#world.delay(), signal);
    const other = host.network;
    if (this.#down || !other || other === this) throw unreachable(`${what}: connection refused`);
    if (this.#world.separated(this.#host, host)) throw unreachable(`${what}: timed out`);
    if (!this.#admits(other.self) || !other.#admits(this.self)) {
      throw unreachable(`${what}: not admitted`);
    }
    this.#join(other);
    return other.self;
  }

  #join(other: SimulatedPeer): void {
    if (this.#connections.has(other.self)) return; // both dialled at once
    this.#connections.set(other.self, { other, streams: new Set() });
    other.#connections.set(this.self, { other: this, streams: new Set() });
    this.#onConnected(other.self, true);
    other.#onConnected(this.self, false);
  }

  #onConnected(peer: PeerKey, isOurs: boolean): void {
    this.#redialler.connected(peer, isOurs);
    for (const listener of this.#listeners) listener.connected(peer);
  }

  /** Ends the connection at both ends. */
  #drop(peer: PeerKey, why: string): void {
    const connection = this.#connections.get(peer);
    if (!connection) return;
    this.#connections.delete(peer);
    for (const stream of connection.streams) stream.fail(new Error(why));
    this.#redialler.lost(peer);
    for (const listener of this.#listeners) listener.disconnected(peer);
    connection.other.#drop(this.self, why);
  }

  #dropped(what: NetworkDrop, peer: PeerKey): void {
    for (const listener of this.#listeners) listener.dropped?.(what, peer);
  }

  #admits(peer: PeerKey): boolean {
    try {
      return this.#gate(peer);
    } catch {
      return false;
    }
  }

  #assertUp(): void {
    if (this.#down) throw new NetworkError('NETWORK_CLOSED', 'the network is closed');
  }

  /** One way to the other end of `connection`. */
  async #travel(connection: Connection, peer: PeerKey): Promise<void> {
    await this.#world.clock.sleep(this.#world.delay());
    if (this.#connections.get(peer) !== connection) {
      throw unreachable(`${peer}: the connection ended`);
    }
  }

  #accept(stream: SimulatedStream, protocol: ProtocolId, served: Protocol): void {
    const { limits, handler } = served;
    const connection = this.#connections.get(stream.peer);
    const slot = `${served.slot} ${stream.peer}`;
    const count = this.#inbound.get(slot) ?? 0;
    if (!connection || count >= limits.maxStreams) {
      this.#dropped('stream', stream.peer);
      stream.abort(new Error(`more than ${limits.maxStreams} streams of ${protocol}`));
      return;
    }
    this.#inbound.set(slot, count + 1);
    this.#track(stream, connection);
    void stream.finished.then(() => {
      this.#inbound.set(slot, (this.#inbound.get(slot) ?? 1) - 1);
    });
    void Promise.resolve()
      .then(() => handler(stream, protocol))
      .then(
        () => stream.finish(),
        (error: unknown) => stream.abort(error instanceof Error ? error : new Error(String(error))),
      );
  }

  #track(stream: SimulatedStream, connection: Connection): void {
    connection.streams.add(stream);
    void stream.finished.then(() => connection.streams.delete(stream));
  }

  #spread(gossip: Gossip, to: readonly PeerKey[]): void {
    for (const peer of to) {
      const connection = this.#connections.get(peer);
      if (!connection || this.#world.loses()) continue;
      if (!connection.other.#topics.has(gossip.topic)) continue;
      this.#world.clock.schedule(this.#world.delay(), () => {
        if (this.#connections.get(peer) !== connection) return;
        connection.other.#onGossip(gossip, this.self).catch(() => undefined); // it catches by itself
      });
    }
  }

  async #onGossip(gossip: Gossip, forwarder: PeerKey): Promise<void> {
    const handler = this.#topics.get(gossip.topic);
    if (!handler || !this.#firstSeen(gossip.id)) return;
    if (!this.#guard.admit(forwarder)) {
      this.#dropped('gossip', forwarder);
      return;
    }
    let verdict: GossipVerdict;
    try {
      verdict = await handler(gossip.message.slice(), gossip.author);
    } catch {
      return;
    }
    if (verdict === 'reject') this.#guard.reject(forwarder);
    if (verdict !== 'accept') return;
    const others = this.peers().filter((peer) => peer !== forwarder && peer !== gossip.author);
    const chosen = others.length > FAN_OUT ? this.#world.rng.shuffle(others) : others;
    this.#spread(gossip, chosen.slice(0, FAN_OUT));
  }

  /** @returns false when `id` was seen before */
  #firstSeen(id: string): boolean {
    if (this.#seen.has(id)) return false;
    this.#seen.add(id);
    for (const oldest of this.#seen) {
      if (this.#seen.size <= MAX_SEEN) break;
      this.#seen.delete(oldest);
    }
    return true;
  }
}

function unreachable(message: string): NetworkError {
  return new NetworkError('NETWORK_UNREACHABLE', message);
}
