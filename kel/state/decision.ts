/** What an event amounts to, given the state before it: data, so that persisting and telling come after. */
import type { IndexedSignature } from '#kel/cesr/indexer';
import type { KelErrorCode } from '#kel/errors';
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference, KeyState } from '../key-state/key-state.ts';

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
  | {
      readonly kind: 'escrow';
      readonly code: EscrowCode;
      readonly reason: string;
      /** With KEL_AWAITS_WITNESSES, of an event that lacks nothing else. */
      readonly receipts?: ReceiptCount;
    }
  /** Nothing that arrives later makes it acceptable. */
  | {
      readonly kind: 'reject';
      readonly code: RejectCode;
      readonly reason: string;
      /** With KEL_DUPLICITOUS: the accepted event that this one contradicts. */
      readonly contradicts?: Said;
    };

/** How far the receipts of an event go. */
export interface ReceiptCount {
  readonly witnesses: readonly Aid[];
  readonly threshold: number;
  /** Those that verify, one per witness: fewer than the threshold. */
  readonly valid: readonly IndexedSignature[];
}

export function escrow(
  code: EscrowCode,
  reason: string,
  receipts?: ReceiptCount,
): Extract<Decision, { kind: 'escrow' }> {
  return { kind: 'escrow', code, reason, ...(receipts === undefined ? {} : { receipts }) };
}

export function reject(code: RejectCode, reason: string): Extract<Decision, { kind: 'reject' }> {
  return { kind: 'reject', code, reason };
}
