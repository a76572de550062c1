/** The libp2p node: which parts it has and what each may use. Loading this file loads libp2p (about 150 modules). */
import { circuitRelayServer } from '@libp2p/circuit-relay-v2';
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys';
import { gossipsub, StrictSign, TopicValidatorResult } from '@libp2p/gossipsub';
import { identify } from '@libp2p/identify';
import { mdns } from '@libp2p/mdns';
import { noise } from '@libp2p/noise';
import { peerIdFromString } from '@libp2p/peer-id';
import { tcp } from '@libp2p/tcp';
import { yamux } from '@libp2p/yamux';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import { createLibp2p } from 'libp2p';
import type { Clock } from '#src/clock';
import type { Secret } from '#src/secret';
import { type CircuitPolicy, RELAY_BOUNDS } from './circuit-policy.ts';
import type { Newcomer } from './door.ts';
import { NetworkError } from './errors.ts';
import { sourceIn } from './host-of.ts';
import { relayedWays, relayKeeper } from './libp2p-relay.ts';
import { tlsTransport } from './libp2p-tls.ts';
import { DialWays } from './libp2p-ways.ts';
import type { GossipVerdict, PeerAddress, PeerKey } from './network.ts';
import { addressText } from './peer-key.ts';

export type Libp2pNode = Awaited<ReturnType<typeof createNode>>;
export type Libp2pConnection = ReturnType<Libp2pNode['getConnections']>[number];
export type Libp2pStream = Awaited<ReturnType<Libp2pConnection['newStream']>>;

/** mDNS service, not libp2p's common one: foreign nodes of the LAN are none of our business. */
const MDNS_SERVICE = '_kelmesh._udp.local';

const MEBIBYTE = 1 << 20;

/** A handshake that nobody waits for may take so long: the machine, or the path, may be slow. */
const HANDSHAKE_MS = 10_000;
const UNBOUNDED = 1_000_000;

export interface NodeInit {
  readonly privateKey: Secret;
  readonly listen: readonly PeerAddress[];
  readonly announce: readonly PeerAddress[];
  readonly mdns: boolean;
  readonly clock: Clock;
  /** TCP sockets of the listeners: far above what the door lets in. */
  readonly maxSockets: number;
  /** Whether an inbound connection gets a place before its handshake. @returns frees the place; undefined: refused */
  enters(newcomer: Newcomer): (() => void) | undefined;
  admits(peer: PeerKey): boolean;
  /** What is passed on for others; undefined: nothing is. */
  readonly relaying?: Pick<CircuitPolicy, 'mayReserve' | 'mayPass'> | undefined;
  /** Whether others may come here through `relay`; @default nobody */
  mayComeThrough?(relay: PeerKey): boolean;
  discovered(peer: PeerKey, addresses: readonly PeerAddress[]): void;
  gossipScore(peer: PeerKey): number;
  readonly graylist: number;
}

/** The node, not started yet: its listeners come first. */
export async function createNode(init: NodeInit) {
  const denied = (peer: { toString(): string }) => !init.admits(keyOf(peer));
  // libp2p keeps its own copy of the key for as long as the node runs: what it holds cannot be wiped.
  const privateKey = await generateKeyPairFromSeed('Ed25519', init.privateKey.expose());
  const places = new WeakMap<object, () => void>();
  const { relaying } = init;
  const relayed = relayedWays();
  return createLibp2p({
    start: false,
    privateKey,
    nodeInfo: { name: 'kelmesh', version: '1', userAgent: 'kelmesh' },
    addresses: { listen: [...init.listen], appendAnnounce: [...init.announce] },
    transports: [
      tcp({ maxConnections: init.maxSockets }),
      tlsTransport(init.maxSockets, init.clock),
      relayed.transport,
    ],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        maxInboundStreams: 256,
        maxOutboundStreams: 256,
        // A stream that nobody reads holds at most one window: it must stay below the read buffer, or the
        // stream would be reset instead of slowed down.
        streamOptions: { maxStreamWindowSize: MEBIBYTE, maxReadBufferLength: 4 * MEBIBYTE },
      }),
    ],
    connectionManager: {
      // The door decides about all of these, and knows whom it wants.
      maxConnections: UNBOUNDED,
      maxIncomingPendingConnections: UNBOUNDED,
      inboundConnectionThreshold: UNBOUNDED,
      inboundUpgradeTimeout: HANDSHAKE_MS,
      maxPeerAddrsToDial: 16,
      reconnectRetries: 0,
    },
    // `Liveness` in its place.
    connectionMonitor: { enabled: false },
    connectionGater: {
      denyDialPeer: denied,
      denyInboundConnection: (connection) => {
        const host = sourceIn(addressText(connection.remoteAddr)) ?? '';
        const leave = init.enters({ host, abort: (reason) => connection.abort(reason) });
        if (leave === undefined) return true;
        places.set(connection, leave);
        connection.addEventListener('close', leave);
        return false;
      },
      denyInboundUpgradedConnection: (_peer, connection) => {
        places.get(connection)?.();
        return false;
      },
      denyInboundEncryptedConnection: denied,
      denyOutboundEncryptedConnection: denied,
      denyInboundRelayReservation: (peer) => relaying?.mayReserve(keyOf(peer)) !== true,
      denyOutboundRelayedConnection: (source, destination) =>
        relaying?.mayPass(keyOf(source), keyOf(destination)) !== true,
      denyInboundRelayedConnection: (relay) => init.mayComeThrough?.(keyOf(relay)) !== true,
    },
    peerDiscovery: init.mdns ? [discovery(init)] : [],
    services: {
      identify: identify(),
      ways: (components: ConstructorParameters<typeof DialWays>[0]) => new DialWays(components),
      relays: () => relayKeeper(relayed),
      ...(relaying === undefined ? {} : { relay: relayServer() }),
      listeners: (components: ListenerComponents) => new Listeners(components),
      gossip: gossip(init),
    },
  });
}

/** What its clients are told to be the bounds makes libp2p call the connection limited: all that is spoken here says that it may run on one. */
function relayServer(): ReturnType<typeof circuitRelayServer> {
  return circuitRelayServer({
    hopTimeout: RELAY_BOUNDS.sayMs,
    maxInboundHopStreams: RELAY_BOUNDS.circuits,
    maxOutboundStopStreams: RELAY_BOUNDS.circuits,
    reservations: {
      maxReservations: RELAY_BOUNDS.reservations,
      reservationTtl: RELAY_BOUNDS.reservationMs,
      defaultDataLimit: RELAY_BOUNDS.circuitBytes,
      defaultDurationLimit: RELAY_BOUNDS.circuitMs,
    },
  });
}

function keyOf(peer: { toString(): string }): PeerKey {
  return peer.toString() as PeerKey;
}

function discovery(init: NodeInit): ReturnType<typeof mdns> {
  return (components) => {
    const service = mdns({ serviceTag: MDNS_SERVICE })(components);
    // Listened to here: the node itself tells of a peer only the first time it sees it.
    service.addEventListener('peer', ({ detail }) => {
      init.discovered(detail.id.toString() as PeerKey, detail.multiaddrs.map(addressText));
    });
    return service;
  };
}

function gossip(init: NodeInit): ReturnType<typeof gossipsub> {
  return gossipsub({
    globalSignaturePolicy: StrictSign,
    fallbackToFloodsub: false,
    floodPublish: true,
    allowPublishToZeroTopicPeers: true,
    emitSelf: false,
    doPX: false,
    runOnLimitedConnection: true,
    // Long enough for the three heartbeats in which a message is offered again, short enough to bound the cache.
    seenTTL: 30_000,
    maxTopicBytesPerPeer: 128 * 1024,
    maxInboundDataLength: 4 * MEBIBYTE,
    maxOutboundBufferSize: 16 * MEBIBYTE,
    scoreParams: {
      appSpecificScore: (peer) => init.gossipScore(peer as PeerKey),
      appSpecificWeight: 1,
      // Several organisations behind one address, or one test machine, are no attack.
      IPColocationFactorWeight: 0,
      behaviourPenaltyThreshold: 6,
    },
    scoreThresholds: { graylistThreshold: init.graylist },
  });
}

interface ListenerComponents {
  readonly transportManager: {
    getAddrs(): Multiaddr[];
    listen(addresses: Multiaddr[]): Promise<void>;
  };
  readonly addressManager: {
    confirmObservedAddr(address: Multiaddr, options: { type: 'transport'; ttl: number }): void;
  };
}

/**
 * Confirms the addresses that the node listens on. libp2p announces a public address only after a stranger
 * dialled it back; here the operator's word counts.
 */
class Listeners {
  readonly #components: ListenerComponents;

  constructor(components: ListenerComponents) {
    this.#components = components;
  }

  /** Listens there as well, where that can be: a port that another program has is none of ours. */
  async listenToo(addresses: readonly PeerAddress[]): Promise<void> {
    for (const address of addresses)
      await this.#components.transportManager.listen([multiaddr(address)]).catch(() => undefined);
  }

  confirm(): void {
    const { transportManager, addressManager } = this.#components;
    for (const address of transportManager.getAddrs()) {
      addressManager.confirmObservedAddr(address, { type: 'transport', ttl: 86_400_000 });
    }
  }
}

/** Nobody serves it here: that the other end says so is an answer. */
const PING = '/ipfs/ping/1.0.0';

export async function pingConnection(
  connection: Libp2pConnection,
  signal: AbortSignal,
): Promise<void> {
  const stream = await connection.newStream(PING, { signal, runOnLimitedConnection: true });
  stream.abort(new Error('it answers'));
}

/**
 * gossipsub keeps moments of the wall clock: after a step back its pauses and cached scores would last as much longer, and it would
 * hold that against peers that keep to them. They are no part of its interface; where a version has them not, nothing is forgotten.
 */
export function forgetMoments(gossip: Libp2pNode['services']['gossip']): void {
  const kept = gossip as unknown as {
    readonly backoff?: Map<string, unknown>;
    readonly seenCache?: { clear?(): void };
    readonly score?: { readonly scoreCache?: Map<string, unknown> };
    readonly gossipTracer?: { clear?(): void };
  };
  kept.backoff?.clear();
  kept.seenCache?.clear?.();
  kept.score?.scoreCache?.clear();
  kept.gossipTracer?.clear?.();
}

export function toMultiaddr(address: PeerAddress): Multiaddr {
  try {
    return multiaddr(address);
  } catch (cause) {
    throw new NetworkError('NETWORK_BAD_ADDRESS', `not a multiaddr: ${address}`, { cause });
  }
}

/** One address in a form that is not known here does not hide the others. @throws NETWORK_BAD_ADDRESS when none can be read */
export function readableMultiaddrs(addresses: readonly PeerAddress[]): Multiaddr[] {
  const read: Multiaddr[] = [];
  let problem: unknown;
  for (const address of addresses) {
    try {
      read.push(toMultiaddr(address));
    } catch (error) {
      problem = error;
    }
  }
  if (read.length === 0 && problem !== undefined) throw problem;
  return read;
}

export function toPeerId(peer: PeerKey): ReturnType<typeof peerIdFromString> {
  return peerIdFromString(peer);
}

export const topicVerdicts: Readonly<Record<GossipVerdict, TopicValidatorResult>> = {
  accept: TopicValidatorResult.Accept,
  ignore: TopicValidatorResult.Ignore,
  reject: TopicValidatorResult.Reject,
};
