/** Answers the queries of members, bounded per stream and per peer. */

import { KelError } from '#kel/errors';
import type { Aid } from '#kel/identifiers';
import { answerKeyState, answerLogs } from '#kel/query/answer';
import { verifyQuery } from '#kel/query/signer';
import { encodeEndorsed } from '#kel/reply/endorsement';
import { buildReply } from '#kel/reply/reply';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { LevelKelStore } from '#kel/store/level-kel-store';
import { Allowance } from '#src/allowance';
import { type Clock, formatDateTime } from '#src/clock';
import type { Identity } from '../../identity/own/identity.ts';
import { type Conversation, type Manners, serveConversations } from '../../network/conversation.ts';
import type { Network, PeerKey } from '../../network/network.ts';
import { QueryError } from './errors.ts';
import { queryFailure } from './failure.ts';
import { encodeAnswer, PIECE_BYTES, queryLimits, queryProtocol } from './messages.ts';

/** Queries of one peer. */
const QUERIES = { burst: 30, perSecond: 0.5, maxPeers: 4_096 };

const manners: Manners = {
  protocol: queryProtocol,
  limits: queryLimits,
  messageMs: 10_000,
  // The other end takes the pieces at its own pace.
  wholeMs: 600_000,
  failure: queryFailure,
};

export interface QueryServiceDeps {
  readonly network: Network;
  readonly identity: Pick<Identity, 'aid' | 'state' | 'signerGroup'>;
  readonly kel: LevelKelStore;
  readonly verifySignature: VerifySignature;
  readonly clock: Clock;
  /** The AID that a peer has proven. */
  readonly aidOf: (peer: PeerKey) => Aid | undefined;
  /** Whether `peer` may have the log of `aid`. */
  readonly mayHave: (peer: PeerKey, aid: Aid) => boolean;
}

export class QueryService {
  readonly #deps: QueryServiceDeps;
  readonly #allowance: Allowance<PeerKey>;

  constructor(deps: QueryServiceDeps) {
    this.#deps = deps;
    this.#allowance = new Allowance(deps.clock, QUERIES);
  }

  start(): void {
    serveConversations(this.#deps, manners, (conversation) => this.#serve(conversation));
  }

  async #serve(conversation: Conversation): Promise<void> {
    const message = await conversation.receive();
    try {
      const answer = await this.#answer(conversation.stream.peer, message);
      for (let at = 0; at < answer.length; at += PIECE_BYTES) {
        const bytes = answer.subarray(at, at + PIECE_BYTES);
        await conversation.send(encodeAnswer({ kind: 'piece', bytes }));
      }
    } catch (error) {
      if (!(error instanceof KelError || error instanceof QueryError)) throw error;
      const { code, message: reason } = error;
      await conversation.send(encodeAnswer({ kind: 'refused', code, reason }));
    }
  }

  async #answer(peer: PeerKey, message: Uint8Array): Promise<Uint8Array> {
    const { kel, identity, verifySignature, aidOf, mayHave } = this.#deps;
    const asking = aidOf(peer);
    if (asking === undefined)
      throw new QueryError('QUERY_NOT_A_MEMBER', 'this peer has not proven which AID it is');
    this.#count(peer);
    const { query, signer } = verifyQuery(message, { kel, verifySignature });
    const { content } = query;
    if (signer !== asking)
      throw new KelError(
        'KEL_WRONG_SIGNER',
        `query ${query.said}: expected the signature of ${asking}, got that of ${signer}`,
      );
    if (content.source !== identity.aid)
      throw new KelError(
        'KEL_BAD_VALUE',
        `query ${query.said}, field src: expected ${identity.aid}, which is asked, got ${content.source}`,
      );
    if (!mayHave(peer, content.aid))
      throw new QueryError('QUERY_NOT_A_MEMBER', `${asking} may not have a log of ${content.aid}`);
    return content.route === 'logs' ? answerLogs(kel, content) : this.#notice(content.aid);
  }

  /** The key state as a reply of the own identity. */
  async #notice(aid: Aid): Promise<Uint8Array> {
    const { kel, identity, clock } = this.#deps;
    const now = clock.now();
    const notice = await answerKeyState(kel, aid, now);
    const content = { type: 'key-state', source: identity.aid, notice } as const;
    const { bytes } = buildReply(identity.state.kind, formatDateTime(now), content);
    const { aid: signer, sn, said, signatures } = await identity.signerGroup(bytes);
    return encodeEndorsed(bytes, { aid: signer, establishment: { sn, said }, signatures });
  }

  /** @throws QUERY_BUSY */
  #count(peer: PeerKey): void {
    if (!this.#allowance.take(peer))
      throw new QueryError(
        'QUERY_BUSY',
        `more than ${QUERIES.burst} queries of ${peer} at once, or ${QUERIES.perSecond * 60} a minute`,
      );
  }
}
