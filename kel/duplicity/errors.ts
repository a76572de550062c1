import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

/** Codes of refusal and of the problems that the verification of an evidence file reports. */
export const duplicityErrors = {
  DUPLICITY_TOO_LARGE:
    'The file is larger than any log up to a fork that is read here; ask for evidence of an earlier fork of the same AID',
  DUPLICITY_NO_PAIR:
    'Evidence ends with two different events of one AID, of one type, at one sequence number and after the same event; this file proves nothing',
  DUPLICITY_UNSIGNED:
    'One of the two events is not signed by the keys in force, so anybody can have made it; discard the file',
  DUPLICITY_BAD_PREFIX:
    'The log before the two events does not verify by itself; fetch the file again from whoever holds the evidence',
  DUPLICITY_NOT_CANONICAL:
    'The file holds bytes that no signature or digest covers; fetch it again, unchanged, or let `kelmesh id import` and `kelmesh id evidence export` write it anew',
  DUPLICITY_NONE: '`kelmesh id evidence list` names the AIDs of which evidence is held',
} as const satisfies ErrorTable;

export type DuplicityErrorCode = keyof typeof duplicityErrors;

export class DuplicityError extends MeshError<DuplicityErrorCode> {
  constructor(code: DuplicityErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, duplicityErrors, details);
  }
}
