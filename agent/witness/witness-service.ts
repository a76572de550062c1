/** Serves `/kelmesh/1/witness`: requests of peers, bounded per stream and per peer. */
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { MessageStream, Network, PeerKey } from '../network/network.ts';
import { WitnessError } from './errors.ts';
import {
  decodeRequest,
  encodeAnswer,
  type WitnessAnswer,
  witnessLimits,
  witnessProtocol,
} from './messages.ts';
import type { Witness } from './witness.ts';

/** Requests of one stream, and of one peer in {@link WINDOW_MS}: an honest client asks once per event. */
const MAX_REQUESTS = 256;
const MAX_PER_WINDOW = 240;
const WINDOW_MS = 60_000;
const IDLE_MS = 30_000;
/** Peers counted at a time; when it is full the counting begins anew. */
const MAX_PEERS = 4_096;

export interface WitnessServiceDeps {
  readonly network: Network;
  readonly witness: Witness;
  readonly clock: Clock;
  /** Whether a `who` of this peer is told that it is served. */
  readonly serves: (peer: PeerKey) => boolean;
}

export class WitnessService {
  readonly #deps: WitnessServiceDeps;
  readonly #asked = new Map<PeerKey, { since: number; count: number }>();

  constructor(deps: WitnessServiceDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#deps.network.handle(witnessProtocol, witnessLimits, (stream) => this.#serve(stream));
  }

  async #serve(stream: MessageStream): Promise<void> {
    for (let requests = 0; requests < MAX_REQUESTS; requests++) {
      const bytes = await withDeadline(
        this.#deps.clock,
        IDLE_MS,
        stream.receive(),
        () => undefined,
      );
      if (bytes === undefined) break;
      const answer = this.#isBusy(stream.peer)
        ? busy(stream.peer)
        : await this.#answer(stream.peer, bytes);
      if (answer !== undefined) await stream.send(encodeAnswer(answer));
    }
    await stream.close();
  }

  async #answer(peer: PeerKey, bytes: Uint8Array): Promise<WitnessAnswer | undefined> {
    const { witness, serves } = this.#deps;
    try {
      const request = decodeRequest(bytes);
      switch (request.kind) {
        case 'who':
          return { kind: 'witness', aid: witness.aid, serves: serves(peer) };
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

  #isBusy(peer: PeerKey): boolean {
    const now = this.#deps.clock.now();
    const asked = this.#asked.get(peer);
    if (asked === undefined || now - asked.since >= WINDOW_MS) {
      if (this.#asked.size >= MAX_PEERS) this.#asked.clear();
      this.#asked.set(peer, { since: now, count: 1 });
      return false;
    }
    asked.count += 1;
    return asked.count > MAX_PER_WINDOW;
  }
}

function busy(peer: PeerKey): WitnessAnswer {
  return {
    kind: 'refused',
    code: 'WITNESS_BUSY',
    reason: `more than ${MAX_PER_WINDOW} requests of ${peer} in ${WINDOW_MS / 1_000} s`,
  };
}
