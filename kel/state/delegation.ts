/** Delegation: an establishment event of a delegated AID counts when its delegator has sealed it. */
import type { KeyEventMessage } from '#kel/event/key-event';
import type { SealedEvent } from '#kel/event/seal';
import type { KeyState } from '../key-state/key-state.ts';
import { type Decision, escrow, reject } from './decision.ts';
import type { DelegationApproval, EvaluationContext } from './evaluation-context.ts';

export type DelegationCheck =
  | { readonly kind: 'approved'; readonly approval: DelegationApproval | undefined }
  | Extract<Decision, { kind: 'escrow' | 'reject' }>;

/** The seal is looked up in the delegator's log; the couple that came with the event is a hint and not needed. */
export function checkDelegation(
  message: KeyEventMessage,
  after: KeyState,
  context: EvaluationContext,
): DelegationCheck {
  const { event } = message;
  if (after.delegator === undefined || event.type === 'ixn')
    return { kind: 'approved', approval: undefined };
  const view = context.delegator?.(after.delegator);
  const name = `event ${event.sn} of ${event.aid}`;
  if (view === undefined) {
    return escrow(
      'KEL_AWAITS_DELEGATOR',
      `${name}: the log of delegator ${after.delegator} is not known`,
    );
  }
  if (view.configTraits.includes('DND')) {
    return reject('KEL_BAD_DELEGATION', `${name}: delegator ${after.delegator} has trait DND`);
  }
  const approval = view.approvalOf(sealFor(message));
  return approval === undefined
    ? escrow('KEL_AWAITS_DELEGATOR', `${name}: no accepted event of ${after.delegator} seals it`)
    : { kind: 'approved', approval };
}

/** The seal that the delegator must hold for this event. */
export function sealFor({ event }: KeyEventMessage): SealedEvent {
  return { aid: event.aid, sn: event.sn.toString(16), said: event.said };
}

/**
 * Superseding of one delegated rotation by another (KERI, rules B1 to B3): the new approval is later in the
 * delegator's log, or later in the same event, or a rotation that took the place of an interaction.
 */
export function isLaterApproval(latest: DelegationApproval, earlier: DelegationApproval): boolean {
  if (latest.sn !== earlier.sn) return latest.sn > earlier.sn;
  if (latest.said === earlier.said) return latest.sealIndex > earlier.sealIndex;
  return latest.isRotation && !earlier.isRotation;
}
