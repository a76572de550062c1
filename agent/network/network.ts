/**
 * The network as the agent sees it: authenticated peers, message streams, gossip.
 * Drivers: libp2p (`libp2p.ts`) and the simulated one in `test/support/`; one contract suite for both.
 */
import type { Brand } from '#src/brand';

/** libp2p peer id, base58btc text (`12D3KooW…`). The channel proves it; `agent/mesh/sync` binds it to an AID. */
export type PeerKey = Brand<string, 'PeerKey'>;

/** Multiaddr text: `/ip4/192.0.2.1/tcp/7400/p2p/12D3KooW…`. */
export type PeerAddress = Brand<string, 'PeerAddress'>;

/** `/kelmesh/1/sync`. */
export type ProtocolId = Brand<string, 'ProtocolId'>;

/** One protocol, or versions of one in the order of preference. */
export type Protocols = ProtocolId | ProtocolList;

export type ProtocolList = readonly [ProtocolId, ...ProtocolId[]];

export function listOf(protocols: Protocols): ProtocolList {
  return typeof protocols === 'string' ? [protocols] : protocols;
}

/** An ordered, reliable, bidirectional stream of whole messages, each at most the protocol's `maxMessage` bytes. */
export interface MessageStream {
  readonly peer: PeerKey;
  /** Waits while the peer is slow (back-pressure). Rejects with NETWORK_STREAM_CLOSED, NETWORK_MESSAGE_TOO_LARGE. */
  send(message: Uint8Array): Promise<void>;
  /** The next message, undefined after the peer closed its side. Rejects with NETWORK_STREAM_CLOSED on reset, NETWORK_MESSAGE_TOO_LARGE (and resets). */
  receive(signal?: AbortSignal): Promise<Uint8Array | undefined>;
  /** Closes the own side after what was sent; idempotent. */
  close(): Promise<void>;
  abort(reason: Error): void;
}

export interface ProtocolLimits {
  /** Bytes. */
  readonly maxMessage: number;
  /** Bytes of a message that is received, where that is less than what is sent. */
  readonly maxReceived?: number;
  /** Bytes of a message that a stranger sends: a peer that is not favoured when the message begins. */
  readonly maxFromStranger?: number;
  /** Concurrent inbound streams per peer; more are reset. */
  readonly maxStreams: number;
}

/** `accept` passes a gossiped message on, `ignore` drops it, `reject` drops it and counts against its forwarder. */
export type GossipVerdict = 'accept' | 'ignore' | 'reject';

/**
 * What a bound made the network drop: a `gossip` message above the forwarder's rate or from one that is not heard any
 * more, a `stream` above `maxStreams` or above what a stranger may open and send, a lost peer too many to `redial`.
 */
export type NetworkDrop = 'gossip' | 'stream' | 'redial';

export interface NetworkListener {
  connected(peer: PeerKey): void;
  disconnected(peer: PeerKey): void;
  /** What {@link Network.addresses} gives may be something else now. */
  addressesChanged?(): void;
  /** Called for each drop: count, do not log each. */
  dropped?(what: NetworkDrop, peer: PeerKey): void;
}

/** Who is wanted: places are kept for them, and strangers make room for them. Neither may throw. */
export interface Favour {
  /** A peer that has proven to be a member, or that a member's record names. */
  peer(peer: PeerKey): boolean;
  /** An IP address from which members come. */
  host(ip: string): boolean;
}

/** Bytes of the next message of a peer. */
export function maxReceived(limits: ProtocolLimits, isStranger: boolean): number {
  const max = limits.maxReceived ?? limits.maxMessage;
  return isStranger ? Math.min(max, limits.maxFromStranger ?? max) : max;
}

export interface Network {
  readonly self: PeerKey;
  /** Inbound connections that were refused, or had to make room for others, since the start. */
  readonly turnedAway: number;
  /** Own dialable addresses, each with `/p2p/` suffix. */
  addresses(): readonly PeerAddress[];
  peers(): readonly PeerKey[];
  /** Addresses as the connections to `peer` show them, the one in use first; empty for one that is not connected. */
  addressesOf(peer: PeerKey): readonly PeerAddress[];
  /** Who passes the connection to `peer` on; undefined: nobody, it is direct, or there is none. */
  relayOf(peer: PeerKey): PeerKey | undefined;
  /** Addresses or routes of this machine have changed: connections are looked at, and what was lost is dialled, without a pause. */
  underlayChanged(): void;
  /**
   * Connects to one of `addresses` of one peer; a peer that is connected directly is left as it is, one that is connected through a
   * relay gets a direct connection beside it where one of the addresses leads there.
   * The other end's gate may still close the connection after this resolves: `disconnected` tells.
   * Rejects with NETWORK_UNREACHABLE, NETWORK_BAD_ADDRESS, or the reason of `signal`.
   */
  dial(addresses: readonly PeerAddress[], signal?: AbortSignal): Promise<PeerKey>;
  /** Resets the streams and ends the connections; the own side does not dial the peer again until told. */
  disconnect(peer: PeerKey): Promise<void>;
  /**
   * A stream on an existing connection, of the first of `protocols` that the peer serves. Rejects with NETWORK_UNREACHABLE when there is none,
   * NETWORK_PROTOCOL_UNSUPPORTED, NETWORK_TIMEOUT. A peer that has `maxStreams` open resets it afterwards.
   */
  open(peer: PeerKey, protocols: Protocols, limits: ProtocolLimits): Promise<MessageStream>;
  /**
   * Serves `protocols`, several as one where streams are counted; the stream lives as long as the promise of `handler`: closed when it resolves,
   * reset when it rejects. Throws NETWORK_DUPLICATE_HANDLER.
   */
  handle(
    protocols: Protocols,
    limits: ProtocolLimits,
    handler: (stream: MessageStream, protocol: ProtocolId) => Promise<void>,
  ): void;
  /** What a peer has said that it serves; none where it has not said yet. */
  protocolsOf(peer: PeerKey): Promise<readonly string[]>;
  /**
   * Hands `message` to whoever subscribes and is near; never to the own handler. Best effort: with no
   * subscriber in reach it is gone. Rejects with NETWORK_MESSAGE_TOO_LARGE above {@link MAX_GOSSIP_MESSAGE}.
   */
  publish(topic: string, message: Uint8Array): Promise<void>;
  /**
   * `from` is the author, whose signature on the message was verified; not the peer that passed it on.
   * Each message is given once; a handler that rejects counts as `ignore`. Throws NETWORK_DUPLICATE_HANDLER.
   */
  subscribe(
    topic: string,
    handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ): void;
  listen(listener: NetworkListener): void;
  /**
   * Only peers that pass are accepted as connections; called on every inbound and outbound connection.
   * Peers connected now that do not pass are disconnected. A gate that throws refuses.
   */
  setGate(gate: (peer: PeerKey) => boolean): void;
  /** Until then nobody is favoured. */
  setFavour(favour: Favour): void;
  /** Resets every stream, tells `disconnected` for every peer; all else rejects with NETWORK_CLOSED from then on. */
  close(): Promise<void>;
}

/** Bytes of one gossiped message. */
export const MAX_GOSSIP_MESSAGE = 65_536;

/** The shape of a multiaddr, in one pass; the network driver reads the rest when it dials. @param text attacker-controlled */
export function parsePeerAddress(text: string): PeerAddress | undefined {
  if (text.length > 512 || !text.startsWith('/')) return undefined;
  const [protocol = '', ...rest] = text.slice(1).split('/');
  if (!/^[a-z0-9-]+$/i.test(protocol)) return undefined;
  return rest.every((part) => /^\S+$/.test(part)) ? (text as PeerAddress) : undefined;
}
