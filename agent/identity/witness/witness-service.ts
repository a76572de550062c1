/** Serves `/kelmesh/1/witness`: requests of peers, bounded per stream and per peer. */
import type { Aid } from '#kel/identifiers';
import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import { type Conversation, type Manners, serveConversations } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { WitnessError } from './errors.ts';
import { witnessFailure } from './failure.ts';
import {
  decodeRequest,
  encodeAnswer,
  type WitnessAnswer,
  witnessLimits,
  witnessProtocol,
} from './messages.ts';
import type { Witness } from './witness.ts';

/** Requests of one stream. */
const MAX_REQUESTS = 256;
/** Requests of one peer: an honest client asks once per event. */
const REQUESTS = { burst: 240, perSecond: 4, maxPeers: 4_096 };
const IDLE_MS = 30_000;

const manners: Manners = {
  protocol: witnessProtocol,
  limits: witnessLimits,
  messageMs: IDLE_MS,
  wholeMs: MAX_REQUESTS * IDLE_MS,
  failure: witnessFailure,
};

export interface WitnessServiceDeps {
  readonly network: Network;
  readonly witness: Witness;
  readonly clock: Clock;
  /** The AID that the peer has proven. */
  readonly aidOf: (peer: PeerKey) => Aid | undefined;
}

export class WitnessService {
  readonly #deps: WitnessServiceDeps;
  readonly #allowance: Allowance<PeerKey>;

  constructor(deps: WitnessServiceDeps) {
    this.#deps = deps;
    this.#allowance = new Allowance(deps.clock, REQUESTS);
  }

  start(): void {
    serveConversations(this.#deps, manners, (conversation) => this.#serve(conversation));
  }

  async #serve(conversation: Conversation): Promise<void> {
    const { peer } = conversation.stream;
    for (let requests = 0; requests < MAX_REQUESTS; requests++) {
      const bytes = await conversation.next();
      if (bytes === undefined) return;
      const answer = this.#allowance.take(peer) ? await this.#answer(peer, bytes) : busy(peer);
      if (answer !== undefined) await conversation.send(encodeAnswer(answer));
    }
  }

  async #answer(peer: PeerKey, bytes: Uint8Array): Promise<WitnessAnswer | undefined> {
    const { witness, aidOf } = this.#deps;
    try {
      const request = decodeRequest(bytes);
      switch (request.kind) {
        case 'who': {
          const aid = aidOf(peer);
          const serves = aid !== undefined && witness.serves(aid);
          return { kind: 'witness', aid: witness.aid, serves };
        }
        case 'open': {
          const aid = aidOf(peer);
          const event = aid === undefined ? undefined : witness.open(aid);
          return { kind: 'open', event: event ?? new Uint8Array(0) };
        }
        case 'receipt':
          return await witness.receipt(request.event);
        case 'log':
          await witness.catchUp(request.stream);
          return undefined;
      }
    } catch (error) {
      if (!(error instanceof WitnessError)) throw error;
      return { kind: 'refused', code: error.code, reason: error.message };
    }
  }
}

function busy(peer: PeerKey): WitnessAnswer {
  return {
    kind: 'refused',
    code: 'WITNESS_BUSY',
    reason: `more than ${REQUESTS.burst} requests of ${peer} at once, or ${REQUESTS.perSecond} a second`,
  };
}
