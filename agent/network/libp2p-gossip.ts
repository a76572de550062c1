/** Topics on gossipsub. */
import { duplicateHandler, messageTooLarge } from './errors.ts';
import type { GossipGuard } from './gossip-guard.ts';
import type { Libp2pNode, topicVerdicts } from './libp2p-node.ts';
import {
  type GossipVerdict,
  MAX_GOSSIP_MESSAGE,
  type NetworkDrop,
  type PeerKey,
} from './network.ts';

type Gossip = Libp2pNode['services']['gossip'];
type TopicMessage = Parameters<Parameters<Gossip['topicValidators']['set']>[1]>[1];

export class Libp2pGossip {
  readonly #gossip: Gossip;
  readonly #verdicts: typeof topicVerdicts;
  readonly #guard: GossipGuard;
  readonly #dropped: (what: NetworkDrop, peer: PeerKey) => void;

  constructor(
    gossip: Gossip,
    verdicts: typeof topicVerdicts,
    guard: GossipGuard,
    dropped: (what: NetworkDrop, peer: PeerKey) => void,
  ) {
    this.#dropped = dropped;
    this.#gossip = gossip;
    this.#verdicts = verdicts;
    this.#guard = guard;
  }

  async publish(topic: string, message: Uint8Array): Promise<void> {
    if (message.length > MAX_GOSSIP_MESSAGE) {
      throw messageTooLarge(`message on ${topic}`, message.length, MAX_GOSSIP_MESSAGE);
    }
    await this.#gossip.publish(topic, message);
  }

  subscribe(
    topic: string,
    handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ): void {
    const { topicValidators } = this.#gossip;
    if (topicValidators.has(topic)) throw duplicateHandler(topic);
    topicValidators.set(topic, async (forwarder, message) => {
      return this.#verdicts[await this.#judge(forwarder.toString() as PeerKey, message, handler)];
    });
    this.#gossip.subscribe(topic);
  }

  async #judge(
    forwarder: PeerKey,
    message: TopicMessage,
    handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ): Promise<GossipVerdict> {
    if (!this.#guard.admit(forwarder, message.data.length)) {
      this.#dropped('gossip', forwarder);
      return 'ignore';
    }
    const verdict = await judged(message, handler);
    if (verdict === 'reject') this.#guard.reject(forwarder);
    return verdict;
  }
}

async function judged(
  message: TopicMessage,
  handler: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
): Promise<GossipVerdict> {
  if (message.type !== 'signed' || message.data.length > MAX_GOSSIP_MESSAGE) return 'reject';
  try {
    return await handler(message.data, message.from.toString() as PeerKey);
  } catch {
    return 'ignore';
  }
}
