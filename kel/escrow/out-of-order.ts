/** KEL_AWAITS_PRIOR: events before this one are missing, so nobody can verify it yet. */
import type { Explanation, WaitingEvent } from './reason.ts';

export function explainOutOfOrder({ event, head }: WaitingEvent): Explanation {
  const { aid, sn } = event;
  const releasedBy = `the log of ${aid} up to event ${sn - 1}, from any peer that holds it or by \`kelmesh id import FILE\``;
  if (head === undefined)
    return { waitsFor: `the log of ${aid}, of which nothing is held`, from: [aid], releasedBy };
  if (head.sn + 1 < sn) {
    const gap = head.sn + 2 === sn ? `event ${sn - 1}` : `events ${head.sn + 1} to ${sn - 1}`;
    return { waitsFor: `${gap} of ${aid}`, from: [aid], releasedBy };
  }
  const prior = 'prior' in event ? event.prior : '';
  return {
    waitsFor: `event ${prior} at ${sn - 1} of ${aid}, in place of the one that stands there`,
    from: [aid],
    releasedBy: `a recovery rotation of ${aid} at or before ${sn - 1}, from any peer that holds it`,
  };
}
