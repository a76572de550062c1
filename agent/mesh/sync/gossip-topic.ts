/** One gossip topic of the mesh in which this organisation is: another mesh, another topic. */
import type { GossipVerdict, Network, PeerKey } from '../../network/network.ts';

export class GossipTopic {
  readonly #network: Pick<Network, 'subscribe' | 'publish'>;
  readonly #receive: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>;
  #topic: string | undefined;

  /** @param receive of messages that are attacker-controlled */
  constructor(
    network: Pick<Network, 'subscribe' | 'publish'>,
    receive: (message: Uint8Array, from: PeerKey) => Promise<GossipVerdict>,
  ) {
    this.#network = network;
    this.#receive = receive;
  }

  /** Once more changes nothing. */
  join(topic: string): void {
    if (this.#topic === topic) return;
    this.#topic = topic;
    this.#network.subscribe(topic, (message, from) => this.#receive(message, from));
  }

  get isJoined(): boolean {
    return this.#topic !== undefined;
  }

  /** Nothing before a mesh was joined. */
  async publish(message: Uint8Array): Promise<void> {
    if (this.#topic !== undefined) await this.#network.publish(this.#topic, message);
  }
}
