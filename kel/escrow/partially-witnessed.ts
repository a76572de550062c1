/** KEL_AWAITS_WITNESSES: everything verifies, and too few witnesses have receipted it. */
import { witnessesAfter } from '#kel/message/verified-attachments';
import { type Explanation, plural, type WaitingEvent } from './reason.ts';

export function explainPartiallyWitnessed(waiting: WaitingEvent): Explanation {
  const { event, attachments, before } = waiting;
  const witnesses = witnessesAfter(before, event);
  const threshold = event.type === 'ixn' ? (before?.witnessThreshold ?? 0) : event.witnessThreshold;
  const receipted = new Set(attachments.witnessSignatures.map(({ index }) => index));
  return {
    waitsFor: `${plural(threshold - receipted.size, 'more receipt')}: ${receipted.size} of ${threshold} that are needed, there are ${witnesses.length} witnesses`,
    from: witnesses.filter((_witness, index) => !receipted.has(index)),
    releasedBy: `receipts of these witnesses for event ${event.said}`,
  };
}
