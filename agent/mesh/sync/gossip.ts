/**
 * Key events on gossipsub: the fast way. What gossip loses, sync brings.
 *
 * A stranger can publish what it likes: an event of an AID that no charter names is dropped before a
 * signature is checked, and every verdict is counted.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { MessageOutcome } from '#kel/store/kel-store';
import type { GossipVerdict, Network, PeerKey } from '../../network/network.ts';
import { GossipTopic } from './gossip-topic.ts';

/** Bytes of one gossiped message: an event with its signatures and receipts. */
export const MAX_EVENT = 32 * 1024;

/** Validly signed, and another event was first here: whoever saw it the other way round has done nothing wrong. */
const FIRST_SEEN_DIFFERS: ReadonlySet<string> = new Set(['KEL_DUPLICITOUS', 'KEL_SUPERSEDED']);

export function eventTopic(mesh: Said): string {
  return `/kelmesh/1/kel/${mesh}`;
}

export interface GossipCounters {
  accepted: number;
  duplicate: number;
  waiting: number;
  /** Malformed, or a signature, digest or threshold that does not hold. */
  refused: number;
  /** Of an AID that no charter names. */
  stranger: number;
}

export interface GossipDeps {
  readonly network: Network;
  /** The AID of a message's one event, undefined when it is not exactly one well-formed event. */
  readonly issuerOf: (message: Uint8Array) => Aid | undefined;
  readonly known: (aid: Aid) => boolean;
  readonly process: (message: Uint8Array) => Promise<readonly MessageOutcome[]>;
  /** Events are missing here that the author of this one has published. */
  readonly behind: (author: PeerKey) => void;
  readonly refused: (outcome: MessageOutcome, from: PeerKey) => void;
}

export class Gossip {
  readonly counters: GossipCounters = {
    accepted: 0,
    duplicate: 0,
    waiting: 0,
    refused: 0,
    stranger: 0,
  };
  readonly #deps: GossipDeps;
  readonly #topic: GossipTopic;

  constructor(deps: GossipDeps) {
    this.#deps = deps;
    this.#topic = new GossipTopic(deps.network, (message, from) => this.receive(message, from));
  }

  join(mesh: Said): void {
    this.#topic.join(eventTopic(mesh));
  }

  publish(message: Uint8Array): Promise<void> {
    return this.#topic.publish(message);
  }

  /** @param message attacker-controlled */
  async receive(message: Uint8Array, from: PeerKey): Promise<GossipVerdict> {
    const issuer = message.length <= MAX_EVENT ? this.#deps.issuerOf(message) : undefined;
    if (issuer === undefined) {
      this.counters.refused += 1;
      return 'reject';
    }
    if (!this.#deps.known(issuer)) {
      this.counters.stranger += 1;
      return 'ignore';
    }
    const [outcome] = await this.#deps.process(message);
    switch (outcome?.verdict) {
      case 'accepted':
        this.counters.accepted += 1;
        return 'accept';
      case 'duplicate':
        this.counters.duplicate += 1;
        // What it brought is news to those behind this agent too.
        return outcome.brought === true ? 'accept' : 'ignore';
      case 'waiting':
        this.counters.waiting += 1;
        this.#deps.behind(from);
        return 'ignore';
      default:
        this.counters.refused += 1;
        if (outcome !== undefined) this.#deps.refused(outcome, from);
        return FIRST_SEEN_DIFFERS.has(outcome?.code ?? '') ? 'ignore' : 'reject';
    }
  }
}
