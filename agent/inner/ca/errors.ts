import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const caErrors = {
  CA_EXISTS: 'Choose another directory: a CA is made once, and its key cannot be made again',
  CA_NOT_FOUND: 'Check the directory, or make a CA with `kelmesh ca init`',
  CA_WRONG_PASSPHRASE:
    'Enter the passphrase that this CA was made with; without it, make a new CA and hand out its certificate',
  CA_CORRUPT: 'Restore the file from a backup: it is cut or damaged',
  CA_EXPIRED:
    'Make a fresh CA with `kelmesh rotate ca --now`, and have it trusted by its fingerprint; next time rotate before it runs out',
  CA_NO_STEP:
    'See where the rotation stands with `kelmesh ca list`, and what is due with `kelmesh rotate ca --plan`',
  CA_NOT_DUE:
    'Wait until then, or add `--now` when the old key was stolen: whatever it issued is refused from then on',
  CA_LOCKED: 'Wait until the other command on this directory has ended, then try again',
  CA_BAD_INPUT: 'Correct the named value; `kelmesh ca --help` lists what is allowed',
  CA_NOT_PERMITTED:
    'Choose a name below the domain of this CA, or an address in its ranges: they were fixed when it was made',
  CA_OVERLAP:
    'Two CAs for one domain could each speak for the other: ask the owner for its present `kelmesh ca export`, and when its CA was replaced at once compare the fingerprint by another way, then `kelmesh ca trust FILE --fingerprint SHA256`',
  CA_WRONG_FINGERPRINT:
    'Do not trust the file yet: ask the owner for it and for the fingerprint again, each by another way; of several CAs in a file give the oldest',
  CA_TRUST_EXPIRED: 'Ask the other side for its present CA certificate',
  CA_NO_SUCH_CERTIFICATE:
    'List what is there with `kelmesh ca list`, or issue it with `kelmesh ca issue`',
  CA_IO: 'Check the file system: space, permissions, and that it is not read-only',
} as const satisfies ErrorTable;

export type CaErrorCode = keyof typeof caErrors;

export class CaError extends MeshError<CaErrorCode> {
  constructor(code: CaErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, caErrors, details);
  }
}
