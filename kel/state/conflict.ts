/** An event at a sequence number that another event holds: recovery, duplicity, or noise (KERI superseding rules A and B). */
import { isInception, isRotation, type KeyEventMessage } from '#kel/event/key-event';
import type { Said } from '#kel/identifiers';
import { type Decision, escrow, reject } from './decision.ts';
import { isLaterApproval, sealFor } from './delegation.ts';
import type { EvaluationContext } from './evaluation-context.ts';
import type { KeyState } from './key-state.ts';
import { evaluateAfter, evaluateInception, isSignedAfter } from './successor.ts';

/** @param accepted SAID at the sequence number of the event */
export function evaluateConflict(
  state: KeyState,
  message: KeyEventMessage,
  accepted: Said | undefined,
  context: EvaluationContext,
): Decision {
  const { event } = message;
  if (isInception(event)) {
    const isSigned = evaluateInception(event, message, context).kind !== 'reject';
    return isSigned ? duplicitous(message, accepted) : unverified(message, accepted);
  }
  const before = stateBefore(state, event.sn, context);
  if (before === undefined) return unverified(message, accepted);
  if (isRotation(event) && event.prior === before.said) {
    if (event.sn > state.establishment.sn) return evaluateAfter(before, message, context, event.sn);
    if (event.type === 'drt' && event.sn === state.establishment.sn) {
      return evaluateDelegatedRecovery(before, message, accepted, context);
    }
  }
  if (!isSignedAfter(before, message, context)) {
    // Under a recovery rotation still to come, other keys and another prior event would be in place.
    const mayRecover = event.sn - 1 > state.establishment.sn && event.prior !== before.said;
    return mayRecover
      ? escrow(
          'KEL_AWAITS_PRIOR',
          `event ${event.sn} of ${event.aid}: prior is ${event.prior}, accepted is ${before.said}`,
        )
      : unverified(message, accepted);
  }
  return isSuperseded(state, message, context)
    ? superseded(message, accepted)
    : duplicitous(message, accepted);
}

/** The keys in force before `sn` are those of the state, unless an establishment event lies between. */
function stateBefore(
  state: KeyState,
  sn: number,
  context: EvaluationContext,
): KeyState | undefined {
  if (sn <= state.establishment.sn) return context.stateAt(sn - 1);
  const said = context.saidAt(sn - 1);
  return said === undefined ? undefined : { ...state, sn: sn - 1, said };
}

/** A delegated rotation gives way to one that its delegator approved later (B1 to B3). */
function evaluateDelegatedRecovery(
  before: KeyState,
  message: KeyEventMessage,
  accepted: Said | undefined,
  context: EvaluationContext,
): Decision {
  const { event } = message;
  const decision = evaluateAfter(before, message, context, event.sn);
  if (decision.kind !== 'accept' || before.delegator === undefined || accepted === undefined)
    return decision;
  const view = context.delegator?.(before.delegator);
  const later = view?.approvalOf(sealFor(message));
  const earlier = view?.approvalOf({ ...sealFor(message), said: accepted });
  if (later === undefined || earlier === undefined) return unverified(message, accepted);
  return isLaterApproval(later, earlier) ? decision : superseded(message, accepted);
}

/** An interaction that arrives after the rotation that took its place is recovery seen late, not duplicity. */
function isSuperseded(
  state: KeyState,
  { event }: KeyEventMessage,
  context: EvaluationContext,
): boolean {
  if (event.type !== 'ixn') return false;
  const held = event.sn === state.sn ? state : context.stateAt(event.sn);
  return held?.establishment.sn === event.sn;
}

function duplicitous({ event }: KeyEventMessage, accepted: Said | undefined): Decision {
  const reason = `${event.aid} signed two events ${event.sn}: accepted ${accepted}, contradicting ${event.said}`;
  return {
    kind: 'reject',
    code: 'KEL_DUPLICITOUS',
    reason,
    ...(accepted === undefined ? {} : { contradicts: accepted }),
  };
}

function superseded({ event }: KeyEventMessage, accepted: Said | undefined): Decision {
  return reject(
    'KEL_SUPERSEDED',
    `event ${event.sn} of ${event.aid}: ${event.said} gave way to ${accepted}`,
  );
}

function unverified({ event }: KeyEventMessage, accepted: Said | undefined): Decision {
  return reject(
    'KEL_CONFLICT_UNVERIFIED',
    `event ${event.sn} of ${event.aid}: ${event.said} contradicts ${accepted} without proof`,
  );
}
