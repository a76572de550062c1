/** KEL_AWAITS_DELEGATOR: the delegator's log does not hold the seal that approves the event. */
import type { Explanation, WaitingEvent } from './reason.ts';

export function explainUnapproved({ event, before, delegator }: WaitingEvent): Explanation {
  const aid = event.type === 'dip' ? event.delegator : before?.delegator;
  const seal = `{"i":"${event.aid}","s":"${event.sn.toString(16)}","d":"${event.said}"}`;
  const held = aid === undefined ? undefined : delegator(aid);
  return {
    waitsFor:
      held === undefined
        ? `the log of its delegator ${aid}, of which nothing is held`
        : `approval by its delegator ${aid}, whose log is held up to event ${held.sn}`,
    from: aid === undefined ? [] : [aid],
    releasedBy: `an event of ${aid} that seals ${seal}`,
  };
}
