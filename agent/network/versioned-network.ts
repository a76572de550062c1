/**
 * The network of an agent that speaks two versions of every protocol: `/kelmesh/1/NAME` and `/kelmesh/2/NAME`. Whoever uses it
 * names the first; the newest that both ends speak is taken. Since the mesh has moved to records of version 2, the first is
 * neither offered nor taken any more: nobody makes an end fall back by saying that it knows no better.
 */
import { NetworkError } from './errors.ts';
import {
  type Favour,
  type GossipVerdict,
  listOf,
  type MessageStream,
  type Network,
  type NetworkListener,
  type PeerAddress,
  type PeerKey,
  type ProtocolId,
  type ProtocolLimits,
  type ProtocolList,
  type Protocols,
} from './network.ts';

const FIRST = '/kelmesh/1/';
const SECOND = '/kelmesh/2/';

/** Peers remembered as outdated while they are connected. */
const MAX_OUTDATED = 4_096;

export class VersionedNetwork implements Network {
  readonly self: PeerKey;
  readonly #network: Network;
  readonly #least: () => 1 | 2;
  readonly #outdated = new Set<PeerKey>();

  /** @param least version that this end speaks at the moment */
  constructor(network: Network, least: () => 1 | 2) {
    this.#network = network;
    this.self = network.self;
    this.#least = least;
  }

  get turnedAway(): number {
    return this.#network.turnedAway;
  }

  /** The newest version that a peer is known to speak; undefined: it has not told yet. */
  async versionOf(peer: PeerKey): Promise<1 | 2 | undefined> {
    const protocols = await this.#network.protocolsOf(peer);
    if (protocols.some((protocol) => protocol.startsWith(SECOND))) return 2;
    return protocols.some((protocol) => protocol.startsWith(FIRST)) ? 1 : undefined;
  }

  /** It was last met speaking a version that this end does not speak any more. */
  isOutdated(peer: PeerKey): boolean {
    return this.#outdated.has(peer);
  }

  /** As {@link Network.open}; rejects with NETWORK_OLD_PROTOCOL too. */
  async open(peer: PeerKey, protocols: Protocols, limits: ProtocolLimits): Promise<MessageStream> {
    const [named] = listOf(protocols);
    try {
      const stream = await this.#network.open(peer, this.#spoken(protocols), limits);
      this.#outdated.delete(peer);
      return stream;
    } catch (error) {
      const isRefused =
        error instanceof NetworkError && error.code === 'NETWORK_PROTOCOL_UNSUPPORTED';
      if (!isRefused || this.#least() === 1 || (await this.versionOf(peer)) !== 1) throw error;
      throw this.#refusal(peer, named);
    }
  }

  handle(
    protocols: Protocols,
    limits: ProtocolLimits,
    handler: (stream: MessageStream, protocol: ProtocolId) => Promise<void>,
  ): void {
    this.#network.handle(versionsOf(protocols), limits, (stream, chosen) => {
      const isOld = chosen.startsWith(FIRST);
      if (isOld && this.#least() > 1) throw this.#refusal(stream.peer, chosen);
      if (!isOld) this.#outdated.delete(stream.peer);
      return handler(stream, chosen);
    });
  }

  protocolsOf(peer: PeerKey): Promise<readonly string[]> {
    return this.#network.protocolsOf(peer);
  }

  addresses(): readonly PeerAddress[] {
    return this.#network.addresses();
  }

  peers(): readonly PeerKey[] {
    return this.#network.peers();
  }

  addressesOf(peer: PeerKey): readonly PeerAddress[] {
    return this.#network.addressesOf(peer);
  }

  relayOf(peer: PeerKey): PeerKey | undefined {
    return this.#network.relayOf(peer);
  }

  underlayChanged(): void {
    this.#network.underlayChanged();
  }

  dial(addresses: readonly PeerAddress[], signal?: AbortSignal): Promise<PeerKey> {
    return this.#network.dial(addresses, signal);
  }

  disconnect(peer: PeerKey): Promise<void> {
    return this.#network.disconnect(peer);
  }

  publish(topic: string, message: Uint8Array): Promise<void> {
    return this.#network.publish(topic, message);
  }

  subscribe(
    topic: string,
    handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ): void {
    this.#network.subscribe(topic, handler);
  }

  listen(listener: NetworkListener): void {
    this.#network.listen(listener);
  }

  setGate(gate: (peer: PeerKey) => boolean): void {
    this.#network.setGate(gate);
  }

  setFavour(favour: Favour): void {
    this.#network.setFavour(favour);
  }

  close(): Promise<void> {
    return this.#network.close();
  }

  #spoken(protocols: Protocols): ProtocolList {
    if (this.#least() === 1) return versionsOf(protocols);
    const [first, ...more] = listOf(protocols);
    return [inSecond(first), ...more.map(inSecond)];
  }

  #refusal(peer: PeerKey, protocol: ProtocolId): NetworkError {
    this.#outdated.add(peer);
    for (const oldest of this.#outdated) {
      if (this.#outdated.size <= MAX_OUTDATED) break;
      this.#outdated.delete(oldest);
    }
    return new NetworkError(
      'NETWORK_OLD_PROTOCOL',
      `${protocol} with ${peer}: the mesh has moved to version 2, and the peer speaks version 1 alone`,
    );
  }
}

/** The newest first. */
function versionsOf(protocols: Protocols): ProtocolList {
  const [first, ...more] = listOf(protocols);
  return [inSecond(first), ...more.map(inSecond), first, ...more];
}

function inSecond(protocol: ProtocolId): ProtocolId {
  return protocol.replace(FIRST, SECOND) as ProtocolId;
}
