/** A proposal under review, for scripts. */
import { explainProposal, loweredBy } from '../identity/custody/explain.ts';
import type { Review } from '../identity/custody/review.ts';

/** @param own keys that are named as the own ones */
export function reviewJson(review: Review, own: ReadonlySet<string>) {
  const { event, signers, isComplete, unexplained } = review;
  return {
    schema: 'kelmesh.proposal/1',
    aid: event.aid,
    sn: event.sn,
    said: event.said,
    type: event.type,
    signingThreshold: review.signingThreshold,
    signers: signers.map(({ index, key, card, hasSigned }) => ({
      index,
      name: card?.name ?? null,
      key,
      signed: hasSigned,
    })),
    complete: isComplete,
    lowered: loweredBy(event, review.prior, signers),
    unknownSeals: unexplained.length,
    explanation: explainProposal(review, own),
  };
}
