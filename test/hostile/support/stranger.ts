/**
 * Somebody who reaches the port of an agent and holds no key of the mesh: speaks any protocol, with bytes of its choice.
 * A member gone bad is a stranger that signs with a member's keys (`member.ts`).
 */
import { randomBytes } from 'node:crypto';
import {
  createNode,
  type Libp2pNode,
  type Libp2pStream,
  toMultiaddr,
} from '#agent/network/libp2p-node';
import { Libp2pStreams } from '#agent/network/libp2p-streams';
import type { MessageStream, PeerAddress, PeerKey, ProtocolId } from '#agent/network/network';
import { Secret } from '#src/secret';
import { systemClock } from '../../support/doubles/system-clock.ts';

const MAX_MESSAGE = 64 << 20;
const IDLE_MS = 600_000;

export class Stranger implements AsyncDisposable {
  readonly self: PeerKey;
  readonly #node: Libp2pNode;
  readonly #streams = new Libp2pStreams(
    systemClock,
    IDLE_MS,
    () => undefined,
    () => false,
  );

  private constructor(node: Libp2pNode) {
    this.#node = node;
    this.self = node.peerId.toString() as PeerKey;
  }

  /** @param privateKey 32-byte seed of its network identity; default: one of its own */
  static async create(privateKey: Uint8Array = randomBytes(32)): Promise<Stranger> {
    const node = await createNode({
      privateKey: Secret.take(privateKey),
      listen: [],
      announce: [],
      mdns: false,
      maxSockets: 1_024,
      enters: () => () => undefined,
      clock: systemClock,
      admits: () => true,
      discovered: () => undefined,
      gossipScore: () => 0,
      graylist: Number.NEGATIVE_INFINITY,
    });
    await node.start();
    return new Stranger(node);
  }

  /** Noise and multiplexer are done when this resolves. */
  async dial(address: PeerAddress): Promise<PeerKey> {
    const connection = await this.#node.dial(toMultiaddr(address));
    return connection.remotePeer.toString() as PeerKey;
  }

  isConnectedTo(peer: PeerKey): boolean {
    return this.#node.getConnections().some(({ remotePeer }) => remotePeer.toString() === peer);
  }

  /** Whole messages in frames, of any length. */
  open(peer: PeerKey, protocol: ProtocolId): Promise<MessageStream> {
    const limits = { maxMessage: MAX_MESSAGE, maxStreams: 1_024 };
    return this.#streams.open(this.#connection(peer), peer, protocol, limits);
  }

  /** Bytes without frames. */
  raw(peer: PeerKey, protocol: ProtocolId): Promise<Libp2pStream> {
    return this.#connection(peer).newStream(protocol, { maxOutboundStreams: 1_024 });
  }

  /** Answers `protocol` when an agent opens it. */
  handle(protocol: ProtocolId, handler: (stream: MessageStream) => Promise<void>): void {
    const limits = { maxMessage: MAX_MESSAGE, maxStreams: 1_024 };
    this.#streams.handle(this.#node, protocol, limits, handler);
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    const { gossip } = this.#node.services;
    if (!gossip.getTopics().includes(topic)) gossip.subscribe(topic);
    await gossip.publish(topic, message);
  }

  async hangUp(peer: PeerKey): Promise<void> {
    await this.#connection(peer).close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#streams.close(new Error('the stranger leaves'));
    await this.#node.stop();
  }

  #connection(peer: PeerKey) {
    const found = this.#node
      .getConnections()
      .find(({ remotePeer, status }) => status === 'open' && remotePeer.toString() === peer);
    if (found === undefined) throw new Error(`not connected to ${peer}`);
    return found;
  }
}
