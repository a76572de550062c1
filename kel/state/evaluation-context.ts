/** What evaluation may ask about the world; the answers come from memory, so that evaluation stays synchronous. */
import type { SealedEvent } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '../key-state/key-state.ts';
import type { VerifySignature } from './key-signatures.ts';

/** The delegating event: where an approval stands in the delegator's accepted log. */
export interface DelegationApproval extends EventReference {
  readonly isRotation: boolean;
  /** Position of the seal in the event's list. */
  readonly sealIndex: number;
}

export interface DelegatorLog {
  readonly configTraits: readonly string[];
  /** The accepted event of the delegator that holds exactly this event seal. */
  approvalOf(seal: SealedEvent): DelegationApproval | undefined;
}

export interface EvaluationContext {
  readonly verifySignature: VerifySignature;
  /** SAID of the accepted event of this AID at `sn`. Asked only when the event does not follow the last one: sn ≤ state.sn. */
  saidAt(sn: number): Said | undefined;
  /** State of this AID after its accepted event at `sn`. Asked only as above, with `event.sn - 1`. */
  stateAt(sn: number): KeyState | undefined;
  /** The log of a delegator; undefined when it is not known. Asked only for establishment events of delegated AIDs. */
  delegator?(aid: Aid): DelegatorLog | undefined;
}
