import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

/** Codes of refusal and of waiting share one table: both name a key event and what is wrong or missing. */
export const kelErrors = {
  KEL_BAD_IDENTIFIER:
    'Check the AID, SAID or key against its source: a character is missing, changed or of another type',
  KEL_BAD_CODE:
    'The sender encodes a primitive that CESR 1.0 does not know or not in this form; ask for the log again, or for a newer sender',
  KEL_BAD_STREAM:
    'The stream was cut or changed on its way; fetch it again without separators or re-encoding',
  KEL_TRUNCATED: 'The stream ends inside a message; fetch it again, complete',
  KEL_LIMIT:
    'The input is larger than any honest log needs; split it, or find out who sends it and why',
  KEL_BAD_VERSION:
    'Only KERI protocol 1.0 (JSON, CBOR, MGPK) is read; ask the sender for that version',
  KEL_BAD_BODY:
    'The body is not in the one canonical form of its serialization; the sender must emit it compact and unchanged',
  KEL_BAD_SCHEMA:
    'The fields of the message are not those of its type, in that order; the sender is in error',
  KEL_BAD_VALUE: 'A field has a value outside its canonical form; the sender is in error',
  KEL_BAD_SAID: 'The content was changed after it was made; discard it and fetch the original',
  KEL_BAD_PREFIX: 'The AID is not derived from its inception event; discard the log',
  KEL_BAD_KEYS:
    'Every signing key and every next-key digest may stand in a list once; D… and B… of one key are one key',
  KEL_BAD_THRESHOLD:
    'The threshold cannot be met by the listed keys, or is zero; the controller must choose another one',
  KEL_BAD_WITNESSES:
    'The witness list or its threshold contradicts itself; the controller must correct the event',
  KEL_BAD_PRIOR: 'The event does not follow the accepted one; compare both logs of this AID',
  KEL_BAD_SIGNATURE: 'No signature verifies under the keys in force; discard the event',
  KEL_BAD_DELEGATION:
    'Delegation forbids this event: check the delegator, its traits, and the event type (drt for delegated AIDs, rot for others)',
  KEL_NOT_TRANSFERABLE: 'This AID has no next keys: it ended, and nothing can follow',
  KEL_ESTABLISHMENT_ONLY: 'This AID permits establishment events only: anchor in a rotation',
  KEL_DUPLICITOUS:
    'Two validly signed events claim one sequence number: keep both as evidence and stop trusting this AID until its controller explains',
  KEL_CONFLICT_UNVERIFIED:
    'The event contradicts the accepted one and its signatures prove nothing; discard it',
  KEL_SUPERSEDED: 'A recovery rotation replaced this event; nothing to do',
  KEL_AWAITS_PRIOR: 'Supply the events before this one',
  KEL_AWAITS_SIGNATURES: 'Collect the missing signatures of the controller',
  KEL_AWAITS_NEXT_KEYS:
    'Collect signatures of the pre-rotated keys until the prior next threshold is met',
  KEL_AWAITS_WITNESSES: 'Collect receipts of the witnesses until their threshold is met',
  KEL_WRONG_SIGNER:
    'The message is not signed by the AID that it speaks for; ask that AID for it, and discard this one',
  KEL_REPLY_CONTRADICTS:
    'The key state notice names another event than the accepted log; ask its sender for the log and compare both',
  KEL_NOT_HELD: 'This party does not hold what the query asks for; ask another one, or later',
  KEL_AWAITS_DELEGATOR: 'Supply the log of the delegator with the event that seals this one',
} as const satisfies ErrorTable;

export type KelErrorCode = keyof typeof kelErrors;

export class KelError extends MeshError<KelErrorCode> {
  constructor(code: KelErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, kelErrors, details);
  }
}
