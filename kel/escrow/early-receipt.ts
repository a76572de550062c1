/** KEL_AWAITS_PRIOR of a receipt: the event that it receipts has not arrived. */
import type { Explanation, WaitingReceipt } from './reason.ts';

export function explainEarlyReceipt({ receipt }: WaitingReceipt): Explanation {
  const { aid, sn, said } = receipt;
  return {
    waitsFor: `event ${sn} of ${aid}, which it receipts`,
    from: [aid],
    releasedBy: `event ${said}, from ${aid} or any peer that holds it`,
  };
}
