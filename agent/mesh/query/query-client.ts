/** Asks members for a log or a key state, one after another until one gives it. */

import type { Aid } from '#kel/identifiers';
import { MAX_ANSWER_BYTES } from '#kel/query/answer';
import { buildQuery, encodeSignedQuery, type QueryContent } from '#kel/query/query';
import { concatBytes } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import type { Identity } from '../../identity/own/identity.ts';
import { type Conversation, converse, type Manners } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { QueryError } from './errors.ts';
import { queryFailure } from './failure.ts';
import { decodeAnswer, PIECE_BYTES, queryLimits, queryProtocol } from './messages.ts';

const PIECE_MS = 10_000;
/** Twice what the longest answer needs: pieces are no way to keep a stream open. */
const MAX_PIECES = (2 * MAX_ANSWER_BYTES) / PIECE_BYTES;

const manners: Manners = {
  protocol: queryProtocol,
  limits: queryLimits,
  messageMs: PIECE_MS,
  wholeMs: MAX_PIECES * PIECE_MS,
  failure: queryFailure,
};

export interface QueryClientDeps {
  readonly network: Network;
  readonly identity: Pick<Identity, 'aid' | 'state' | 'sign'>;
  readonly clock: Clock;
  readonly aidOf: (peer: PeerKey) => Aid | undefined;
  /** Peers that have proven their AID. */
  readonly bound: () => readonly PeerKey[];
}

export type Asked =
  | { readonly route: 'logs'; readonly aid: Aid; readonly from: number | undefined }
  | { readonly route: 'ksn'; readonly aid: Aid };

export interface Answered {
  /** Who has answered. */
  readonly member: Aid;
  /** As it came; nothing of it is verified. */
  readonly stream: Uint8Array;
}

export class QueryClient {
  readonly #deps: QueryClientDeps;

  constructor(deps: QueryClientDeps) {
    this.#deps = deps;
  }

  /** Throws QUERY_NO_MEMBER, and what went wrong with the last member that was asked: QUERY_REFUSED, QUERY_TIMEOUT, NETWORK_… */
  async ask(asked: Asked): Promise<Answered> {
    let failure: unknown = new QueryError('QUERY_NO_MEMBER', 'no connected member can be asked');
    for (const peer of this.#deps.bound()) {
      const member = this.#deps.aidOf(peer);
      if (member === undefined) continue;
      try {
        return { member, stream: await this.#askPeer(peer, member, asked) };
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #askPeer(peer: PeerKey, member: Aid, asked: Asked): Promise<Uint8Array> {
    const { identity, clock } = this.#deps;
    const content: QueryContent =
      asked.route === 'logs'
        ? { ...asked, source: member, anchor: undefined }
        : { ...asked, source: member };
    const body = buildQuery(identity.state.kind, formatDateTime(clock.now()), content);
    const message = encodeSignedQuery(body, identity.aid, await identity.sign(body));
    const talk = async (conversation: Conversation) => {
      await conversation.send(message);
      return this.#receive(conversation, member);
    };
    return converse(this.#deps, manners, peer, talk, member);
  }

  async #receive(conversation: Conversation, member: Aid): Promise<Uint8Array> {
    const pieces: Uint8Array[] = [];
    for (let size = 0; size <= MAX_ANSWER_BYTES && pieces.length <= MAX_PIECES; ) {
      const bytes = await conversation.next();
      if (bytes === undefined) {
        if (size > 0) return concatBytes(...pieces);
        throw new QueryError('QUERY_BAD_MESSAGE', `${member} has closed without an answer`);
      }
      const answer = decodeAnswer(bytes);
      if (answer.kind === 'refused')
        throw new QueryError(
          'QUERY_REFUSED',
          `${member} refuses: ${answer.code}, ${answer.reason}`,
          { fields: { code: answer.code, member } },
        );
      pieces.push(answer.bytes);
      size += answer.bytes.length;
    }
    throw new QueryError(
      'QUERY_BAD_MESSAGE',
      `the answer of ${member} is above ${MAX_ANSWER_BYTES} bytes, or in too small pieces`,
    );
  }
}
