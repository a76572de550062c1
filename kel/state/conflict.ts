/** An event at a sequence number that another event holds: recovery, duplicity, or noise (KERI superseding rules A and B). */
import { isInception, isRotation, type KeyEventMessage } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { KeyState } from '../key-state/key-state.ts';
import { type Decision, escrow, reject } from './decision.ts';
import { isLaterApproval, sealFor } from './delegation.ts';
import type { EvaluationContext } from './evaluation-context.ts';
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
    if (event.type === 'drt' && before.delegator !== undefined) {
      return evaluateDelegatedConflict(
        state,
        { ...before, delegator: before.delegator },
        message,
        accepted,
        context,
      );
    }
  }
  const isElsewhere = event.prior !== before.said;
  const reason = `event ${event.sn} of ${event.aid}: prior is ${event.prior}, accepted is ${before.said}`;
  if (before.delegator !== undefined && isElsewhere) {
    // It follows a delegated rotation that gave way or may still win: rotations of one place can share their keys,
    // so a signature under them says nothing about which one was meant.
    return event.sn > state.establishment.sn
      ? escrow('KEL_AWAITS_PRIOR', reason)
      : unverified(message, accepted);
  }
  if (!isSignedAfter(before, message, context)) {
    // Under a recovery rotation still to come, other keys and another prior event would be in place.
    const mayRecover = event.sn - 1 > state.establishment.sn && isElsewhere;
    return mayRecover ? escrow('KEL_AWAITS_PRIOR', reason) : unverified(message, accepted);
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

/**
 * A delegated rotation gives way to one that its delegator approved later (rules B1 to B3), as long as no rotation
 * follows it. What the delegator has approved and replaced is recovery; what it never approved proves nothing.
 */
function evaluateDelegatedConflict(
  state: KeyState,
  before: KeyState & { readonly delegator: Aid },
  message: KeyEventMessage,
  accepted: Said | undefined,
  context: EvaluationContext,
): Decision {
  const { event } = message;
  const decision = evaluateAfter(before, message, context, event.sn);
  const view = context.delegator?.(before.delegator);
  const later = view?.approvalOf(sealFor(message));
  if (accepted === undefined || later === undefined) return decision;
  const earlier = view?.approvalOf({ ...sealFor(message), said: accepted });
  // The event that approved the accepted one has itself given way in the delegator's log (B3, and C up the chain):
  // only a rotation does that, and what it or a later event approves is the delegator's last word.
  const isLater = earlier === undefined || isLaterApproval(later, earlier);
  if (!isLater) {
    return isSignedAfter(before, message, context)
      ? superseded(message, accepted)
      : unverified(message, accepted);
  }
  if (event.sn === state.establishment.sn) return decision;
  return isSignedAfter(before, message, context)
    ? duplicitous(message, accepted)
    : unverified(message, accepted);
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
