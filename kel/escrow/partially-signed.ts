/** KEL_AWAITS_SIGNATURES: the controller's own signatures do not meet the signing threshold. */
import { type Explanation, plural, type WaitingEvent } from './reason.ts';

export function explainPartiallySigned({ event, attachments, before }: WaitingEvent): Explanation {
  const { keys, signingThreshold } =
    event.type === 'ixn' ? (before ?? { keys: [], signingThreshold: '0' }) : event;
  const signed = new Set(attachments.signatures.map(({ index }) => index));
  return {
    waitsFor: `signatures: ${signed.size} of ${plural(keys.length, 'key')} signed, the threshold is ${JSON.stringify(signingThreshold)}`,
    from: keys.filter((_key, index) => !signed.has(index)),
    releasedBy: `the same event with signatures of enough of these keys; copies with one signature each add up`,
  };
}
