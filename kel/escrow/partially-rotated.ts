/** KEL_AWAITS_NEXT_KEYS: too few of the keys that the last establishment event committed to have signed the rotation. */
import { verifyDigest } from '#kel/cesr/digest';
import { utf8 } from '#src/bytes';
import type { Explanation, WaitingEvent } from './reason.ts';

export function explainPartiallyRotated({ event, attachments, before }: WaitingEvent): Explanation {
  const keys = event.type === 'ixn' ? [] : event.keys;
  const digests = before?.nextDigests ?? [];
  const missing = digests.filter(
    (digest, position) =>
      !attachments.signatures.some(({ index, ondex }) => {
        const key = ondex === position ? keys[index] : undefined;
        return key !== undefined && verifyDigest(digest, utf8(key));
      }),
  );
  return {
    waitsFor: `signatures of pre-rotated keys: ${digests.length - missing.length} of ${digests.length} signed, the threshold is ${JSON.stringify(before?.nextThreshold)}`,
    from: missing,
    releasedBy: `the same event with signatures of enough of the keys that have these digests, each with its position among them`,
  };
}
