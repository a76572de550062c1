/** Evaluation of one key event against the state of its AID: pure, so replaying a log gives the same state. */
import { isInception, type KeyEventMessage } from '#kel/event/key-event';
import type { KeyState } from '../key-state/key-state.ts';
import { evaluateConflict } from './conflict.ts';
import { type Decision, escrow, reject } from './decision.ts';
import type { EvaluationContext } from './evaluation-context.ts';
import { evaluateAfter, evaluateInception, isSignedAfter } from './successor.ts';

/** @param state after the last accepted event of the AID; undefined when none is */
export function evaluate(
  state: KeyState | undefined,
  message: KeyEventMessage,
  context: EvaluationContext,
): Decision {
  const { event } = message;
  if (state === undefined) {
    return isInception(event)
      ? evaluateInception(event, message, context)
      : escrow('KEL_AWAITS_PRIOR', `no event of ${event.aid} is accepted yet`);
  }
  if (event.sn === state.sn + 1) return evaluateNext(state, message, context);
  if (event.sn > state.sn) {
    return escrow(
      'KEL_AWAITS_PRIOR',
      `event ${event.sn} of ${event.aid} came after event ${state.sn}`,
    );
  }
  const accepted = event.sn === state.sn ? state.said : context.saidAt(event.sn);
  if (accepted === event.said) return { kind: 'duplicate' };
  return evaluateConflict(state, message, accepted, context);
}

function evaluateNext(
  state: KeyState,
  message: KeyEventMessage,
  context: EvaluationContext,
): Decision {
  const { event } = message;
  if (isInception(event) || event.prior === state.said)
    return evaluateAfter(state, message, context);
  const reason = `event ${event.sn} of ${event.aid}: prior is ${event.prior}, accepted is ${state.said}`;
  // A recovery rotation may still replace the interaction that stands there, and this event follow it;
  // unless the keys in force have signed it: they can only have meant the log as it stands.
  const mayRecover = state.sn > state.establishment.sn && state.nextDigests.length > 0;
  // A delegated rotation may give way to another with the same keys, so there a signature does not tell.
  const isRecovering =
    state.delegator === undefined
      ? mayRecover && !isSignedAfter(state, message, context)
      : state.establishment.sn > 0 || mayRecover;
  return isRecovering ? escrow('KEL_AWAITS_PRIOR', reason) : reject('KEL_BAD_PRIOR', reason);
}
