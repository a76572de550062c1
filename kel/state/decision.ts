/** What an event amounts to, given the state before it: data, so that persisting and telling come after. */
import type { IndexedSignature } from '#kel/cesr/indexer';
import type { KelErrorCode } from '#kel/errors';
import type { Said } from '#kel/identifiers';
import type { EventReference, KeyState } from './key-state.ts';

export type EscrowCode = Extract<KelErrorCode, `KEL_AWAITS_${string}`>;
export type RejectCode = Exclude<KelErrorCode, EscrowCode>;

export type Decision =
  | {
      readonly kind: 'accept';
      /** State after the event. */
      readonly state: KeyState;
      /** The controller's signatures that verify. */
      readonly signatures: readonly IndexedSignature[];
      /** The witnesses' signatures that verify, by position in `state.witnesses`, converted couples included. */
      readonly witnessSignatures: readonly IndexedSignature[];
      /** Event of the delegator that seals this one; of a delegated establishment event. */
      readonly approval: EventReference | undefined;
      /** The accepted events from this sequence number on are no longer part of the log. */
      readonly supersedesFrom: number | undefined;
    }
  /** The same event is accepted already. */
  | { readonly kind: 'duplicate' }
  /** Something is missing that can still arrive. */
  | { readonly kind: 'escrow'; readonly code: EscrowCode; readonly reason: string }
  /** Nothing that arrives later makes it acceptable. */
  | {
      readonly kind: 'reject';
      readonly code: RejectCode;
      readonly reason: string;
      /** With KEL_DUPLICITOUS: the accepted event that this one contradicts. */
      readonly contradicts?: Said;
    };

export function escrow(code: EscrowCode, reason: string): Extract<Decision, { kind: 'escrow' }> {
  return { kind: 'escrow', code, reason };
}

export function reject(code: RejectCode, reason: string): Extract<Decision, { kind: 'reject' }> {
  return { kind: 'reject', code, reason };
}
