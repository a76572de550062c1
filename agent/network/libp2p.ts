/**
 * The network on libp2p: TCP, Noise, Yamux, identify, gossipsub, optional mDNS.
 *
 * libp2p itself is loaded by {@link createLibp2pNetwork}, so that commands that need no network do not wait for it.
 */
import type { Clock } from '#src/clock';
import { watchSteps } from '#src/clock-steps';
import type { Secret } from '#src/secret';
import { CircuitPolicy } from './circuit-policy.ts';
import { Door, type DoorLimits } from './door.ts';
import { NetworkError } from './errors.ts';
import { GossipGuard, GRAYLIST } from './gossip-guard.ts';
import { relayIn } from './host-of.ts';
import { Connector, messageOf } from './libp2p-connect.ts';
import { Libp2pGossip } from './libp2p-gossip.ts';
import { watchGuests } from './libp2p-guests.ts';
import type { Libp2pConnection, Libp2pNode } from './libp2p-node.ts';
import { relayHost, strangerCircuits } from './libp2p-relay-host.ts';
import { Libp2pStreams, type StreamHandler } from './libp2p-streams.ts';
import { Liveness, type LivenessLimits } from './liveness.ts';
import type {
  Favour,
  GossipVerdict,
  MessageStream,
  Network,
  NetworkDrop,
  NetworkListener,
  PeerAddress,
  PeerKey,
  ProtocolLimits,
  Protocols,
} from './network.ts';
import { addressText, peerKeyOf, peerOf } from './peer-key.ts';
import { Redialler } from './redial.ts';
import { RelayPlaces } from './relay-places.ts';

interface NetworkLimits extends DoorLimits {
  /** Milliseconds without a byte after which a stream is reset; @default 120 000 */
  readonly idleStreamMs: number;
  /** Milliseconds between two looks whether a connection is alive, and for its answer; @default 10 000, 5 000 */
  readonly liveness: LivenessLimits;
}

const DEFAULT_LIMITS: NetworkLimits = {
  maxConnections: 512,
  maxStrangers: 128,
  maxStrangersPerSource: 32,
  maxPendingInbound: 64,
  maxPendingPerSource: 16,
  maxInboundPerSecond: 20,
  idleStreamMs: 120_000,
  liveness: { lookMs: 10_000, answerMs: 5_000 },
};

export interface Libp2pNetworkOptions {
  /** 32-byte Ed25519 seed. */
  readonly privateKey: Secret;
  readonly listen: readonly PeerAddress[];
  /** Addresses under which others reach this node, beside the ones it listens on. */
  readonly announce?: readonly PeerAddress[];
  readonly bootstrap: readonly PeerAddress[];
  /** Finds peers of the LAN and dials those that the gate admits. */
  readonly mdns: boolean;
  /** Where to listen as well, where that can be. */
  readonly listenToo?: readonly PeerAddress[];
  /** `serve`: passes on connections of members; `use`: is reached through members that do; @default neither */
  readonly relay?: 'serve' | 'use';
  readonly limits?: Partial<NetworkLimits>;
  readonly clock: Clock;
}

/** @throws NETWORK_BAD_ADDRESS, NETWORK_BAD_KEY, NETWORK_PORT_IN_USE, NETWORK_LISTEN_FAILED */
export async function createLibp2pNetwork(options: Libp2pNetworkOptions): Promise<Network> {
  const self = peerKeyOf(options.privateKey);
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const guard = new GossipGuard(options.clock);
  const library = await import('./libp2p-node.ts');
  for (const address of [...options.listen, ...(options.announce ?? []), ...options.bootstrap]) {
    library.toMultiaddr(address);
  }
  // The node asks the network that is built around it; nothing is asked before `start`.
  const network: { current?: Libp2pNetwork } = {};
  const dropped = (what: NetworkDrop, peer: PeerKey) => network.current?.dropped(what, peer);
  const door = new Door(options.clock, limits);
  const favours = (peer: PeerKey) => door.favours(peer);
  const relaying =
    options.relay !== 'serve'
      ? undefined
      : new CircuitPolicy({
          clock: options.clock,
          favours,
          strangerCircuits: () => network.current?.strangerCircuits() ?? 0,
        });
  const node = await library.createNode({
    privateKey: options.privateKey,
    maxSockets: 4 * (limits.maxConnections + limits.maxPendingInbound),
    enters: (newcomer) => door.admit(newcomer, network.current?.connectionCount ?? 0),
    listen: options.listen,
    announce: options.announce ?? [],
    mdns: options.mdns,
    clock: options.clock,
    admits: (peer) => network.current?.admits(peer) ?? false,
    relaying,
    mayComeThrough: favours,
    discovered: (peer, addresses) => network.current?.discovered(peer, addresses),
    gossipScore: (peer) => guard.score(peer),
    graylist: GRAYLIST,
  });
  network.current = new Libp2pNetwork({
    self,
    node,
    door,
    library,
    clock: options.clock,
    relaying,
    usesRelays: options.relay === 'use',
    liveness: limits.liveness,
    streams: new Libp2pStreams(
      options.clock,
      limits.idleStreamMs,
      dropped,
      (peer) => !door.favours(peer),
    ),
    gossip: new Libp2pGossip(node.services.gossip, library.topicVerdicts, guard, dropped),
  });
  await network.current.start(options);
  return network.current;
}

interface Parts {
  readonly self: PeerKey;
  readonly node: Libp2pNode;
  readonly door: Door;
  readonly library: typeof import('./libp2p-node.ts');
  readonly clock: Clock;
  readonly relaying: CircuitPolicy | undefined;
  readonly usesRelays: boolean;
  readonly liveness: LivenessLimits;
  readonly streams: Libp2pStreams;
  readonly gossip: Libp2pGossip;
}

/** Milliseconds for an orderly end of a connection; then it is cut. */
const HANG_UP_MS = 1_000;

class Libp2pNetwork implements Network {
  readonly self: PeerKey;
  readonly #parts: Parts;
  readonly #redialler: Redialler;
  readonly #connector: Connector;
  readonly #places: RelayPlaces;
  readonly #liveness: Liveness<Libp2pConnection>;
  readonly #listeners: NetworkListener[] = [];
  #gate: (peer: PeerKey) => boolean = () => true;
  #closing: Promise<void> | undefined;
  readonly #closed = new AbortController();

  constructor(parts: Parts) {
    this.self = parts.self;
    this.#parts = parts;
    const { node, library, clock, door, liveness } = parts;
    const admits = (peer: PeerKey) => this.admits(peer);
    const relays = relayHost({
      node,
      library,
      clock,
      favours: (peer) => door.favours(peer),
      changed: () => this.#addressesChanged(),
    });
    this.#connector = new Connector({
      node,
      readable: library.readableMultiaddrs,
      peerId: library.toPeerId,
      clock,
      admits,
      servers: relays.servers,
    });
    this.#places = new RelayPlaces(relays);
    this.#liveness = new Liveness(
      {
        clock,
        connections: () => node.getConnections().filter(({ status }) => status === 'open'),
        ping: library.pingConnection,
        dead: (connection) => connection.abort(new Error('the other end does not answer any more')),
      },
      liveness,
    );
    this.#redialler = new Redialler({
      clock: parts.clock,
      dial: (peer, addresses, signal) => this.#connector.connect(peer, addresses, signal),
      isConnected: (peer) => this.#connections(peer).length > 0,
      admits,
      dropped: (what, peer) => this.dropped(what, peer),
    });
    watchGuests(parts.node, parts.door);
    this.#watchConnections();
    parts.node.addEventListener('peer:connect', ({ detail }) => {
      const peer = detail.toString() as PeerKey;
      // Who came by itself comes again by itself: nobody makes this end dial addresses of its choice.
      const isOurs = this.#connections(peer).some(({ direction }) => direction === 'outbound');
      this.#redialler.connected(peer, isOurs);
      for (const listener of this.#listeners) listener.connected(peer);
    });
    parts.node.addEventListener('peer:disconnect', ({ detail }) => {
      const peer = detail.toString() as PeerKey;
      this.#redialler.lost(peer);
      for (const listener of this.#listeners) listener.disconnected(peer);
    });
  }

  async start({
    listen,
    listenToo = [],
    bootstrap,
  }: Pick<Libp2pNetworkOptions, 'listen' | 'listenToo' | 'bootstrap'>): Promise<void> {
    try {
      await this.#parts.node.start();
    } catch (cause) {
      await this.close();
      throw listenError(listen, cause);
    }
    await this.#parts.node.services.listeners.listenToo(listenToo);
    this.#parts.node.services.listeners.confirm();
    this.#redialler.keep(bootstrap);
    this.#watch();
  }

  #watch(): void {
    const { node, library, clock, usesRelays } = this.#parts;
    const { signal } = this.#closed;
    void watchSteps(clock, signal, (ms) => {
      library.forgetMoments(node.services.gossip);
      // The machine was asleep, or its clock was set: what was connected may not be any more.
      if (ms > 0) this.underlayChanged();
    });
    void this.#liveness.run(signal);
    if (usesRelays) void this.#places.run(signal);
  }

  #watchConnections(): void {
    const { node, usesRelays } = this.#parts;
    const { signal } = this.#closed;
    node.addEventListener('connection:open', ({ detail }) => {
      const peer = detail.remotePeer.toString() as PeerKey;
      queueMicrotask(() => {
        const others = this.#connections(peer).filter((one) => one !== detail);
        // Whoever comes again may have lost what it had.
        this.#liveness.hurry(others, signal);
        this.#connector.retireRelayed(peer, signal).catch(() => undefined);
      });
    });
    if (!usesRelays) return;
    // By then it is known what the other end offers.
    node.addEventListener('peer:identify', () => void this.#places.poke());
  }

  underlayChanged(): void {
    if (this.#closing) return;
    const { node } = this.#parts;
    this.#liveness.hurry(node.getConnections(), this.#closed.signal);
    this.#redialler.hurry();
    this.#addressesChanged();
  }

  #addressesChanged(): void {
    for (const listener of this.#listeners) listener.addressesChanged?.();
  }

  strangerCircuits(): number {
    const { node, door } = this.#parts;
    return strangerCircuits(node, (peer) => door.favours(peer));
  }

  admits(peer: PeerKey): boolean {
    try {
      return this.#gate(peer);
    } catch {
      return false;
    }
  }

  dropped(what: NetworkDrop, peer: PeerKey): void {
    for (const listener of this.#listeners) listener.dropped?.(what, peer);
  }

  discovered(peer: PeerKey, addresses: readonly PeerAddress[]): void {
    this.#redialler.discovered(peer, addresses);
  }

  get connectionCount(): number {
    return this.#parts.node.getConnections().length;
  }

  get turnedAway(): number {
    const { door, relaying } = this.#parts;
    return door.turnedAway + (relaying?.refused ?? 0);
  }

  setFavour(favour: Favour): void {
    this.#parts.door.setFavour(favour);
  }

  addresses(): readonly PeerAddress[] {
    if (this.#closing) return [];
    // Again each time: an interface may have come up since.
    this.#parts.node.services.listeners.confirm();
    const own = this.#parts.node.getMultiaddrs().map(addressText);
    return [...own, ...this.#places.addresses()];
  }

  peers(): readonly PeerKey[] {
    if (this.#closing) return [];
    return this.#parts.node.getPeers().map((peer) => peer.toString() as PeerKey);
  }

  addressesOf(peer: PeerKey): readonly PeerAddress[] {
    return this.#connections(peer).map(({ remoteAddr }) => addressText(remoteAddr));
  }

  relayOf(peer: PeerKey): PeerKey | undefined {
    const [best] = this.addressesOf(peer);
    return best && relayIn(best);
  }

  async dial(addresses: readonly PeerAddress[], signal?: AbortSignal): Promise<PeerKey> {
    this.#assertOpen();
    const peers = new Set(addresses.map(peerOf));
    if (addresses.length === 0 || peers.size > 1 || peers.has(this.self)) {
      const got = addresses.join(', ') || 'none';
      throw new NetworkError('NETWORK_BAD_ADDRESS', `expected addresses of one peer, got ${got}`);
    }
    const until = signal ? AbortSignal.any([signal, this.#closed.signal]) : this.#closed.signal;
    return this.#connector.connect(undefined, addresses, until);
  }

  async disconnect(peer: PeerKey): Promise<void> {
    this.#assertOpen();
    this.#redialler.dismiss(peer);
    await this.#hangUp(peer, 'disconnected');
  }

  async open(peer: PeerKey, protocols: Protocols, limits: ProtocolLimits): Promise<MessageStream> {
    this.#assertOpen();
    const [connection] = this.#connections(peer);
    if (!connection) throw new NetworkError('NETWORK_UNREACHABLE', `not connected to ${peer}`);
    return this.#parts.streams.open(connection, peer, protocols, limits);
  }

  async protocolsOf(peer: PeerKey): Promise<readonly string[]> {
    const { node, library } = this.#parts;
    // Whom it does not know it has heard nothing of.
    const known = await node.peerStore.get(library.toPeerId(peer)).catch(() => undefined);
    return known?.protocols ?? [];
  }

  handle(protocols: Protocols, limits: ProtocolLimits, handler: StreamHandler): void {
    this.#assertOpen();
    this.#parts.streams.handle(this.#parts.node, protocols, limits, handler);
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    this.#assertOpen();
    await this.#parts.gossip.publish(topic, message);
  }

  subscribe(
    topic: string,
    handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ): void {
    this.#assertOpen();
    this.#parts.gossip.subscribe(topic, handler);
  }

  listen(listener: NetworkListener): void {
    this.#listeners.push(listener);
  }

  setGate(gate: (peer: PeerKey) => boolean): void {
    this.#gate = gate;
    for (const peer of this.peers()) {
      if (!this.admits(peer)) this.#hangUp(peer, 'no longer admitted').catch(() => undefined);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close(this.peers());
    return this.#closing;
  }

  async #close(peers: readonly PeerKey[]): Promise<void> {
    const { node, streams } = this.#parts;
    this.#closed.abort();
    streams.close(new NetworkError('NETWORK_CLOSED', 'the network is closed'));
    await this.#redialler.close();
    await node.stop();
    // The node forgets its listeners before it ends the connections.
    for (const peer of peers) {
      for (const listener of this.#listeners) listener.disconnected(peer);
    }
  }

  #assertOpen(): void {
    if (this.#closing) throw new NetworkError('NETWORK_CLOSED', 'the network is closed');
  }

  #connections(peer: PeerKey): readonly Libp2pConnection[] {
    return this.#closing ? [] : this.#connector.connections(peer);
  }

  async #hangUp(peer: PeerKey, why: string): Promise<void> {
    const { node, library, streams } = this.#parts;
    // First the reset, or the peer would take the end of its streams for an orderly one.
    streams.abort(peer, new NetworkError('NETWORK_STREAM_CLOSED', `${peer}: ${why}`));
    await node.hangUp(library.toPeerId(peer), { signal: AbortSignal.timeout(HANG_UP_MS) });
  }
}

function listenError(listen: readonly PeerAddress[], cause: unknown): NetworkError {
  const message = messageOf(cause);
  const inUse = message.includes('EADDRINUSE');
  const what = `cannot listen on ${listen.join(', ')}`;
  return inUse
    ? new NetworkError('NETWORK_PORT_IN_USE', `${what}: the port is taken`, { cause })
    : new NetworkError('NETWORK_LISTEN_FAILED', what, { cause });
}
