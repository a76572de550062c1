import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const caErrors = {
  CA_EXISTS: 'Choose another directory: a CA is made once, and its key cannot be made again',
  CA_NOT_FOUND: 'Check the directory, or make a CA with `kelmesh ca init`',
  CA_WRONG_PASSPHRASE:
    'Enter the passphrase that this CA was made with; without it, make a new CA and hand out its certificate',
  CA_CORRUPT: 'Restore the file from a backup: it is cut or damaged',
  CA_EXPIRED:
    'Make a new CA in another directory, and have its certificate trusted before you use it',
  CA_LOCKED: 'Wait until the other command on this directory has ended, then try again',
  CA_BAD_INPUT: 'Correct the named value; `kelmesh ca --help` lists what is allowed',
  CA_NOT_PERMITTED:
    'Choose a name below the domain of this CA, or an address in its ranges: they were fixed when it was made',
  CA_OVERLAP:
    'Ask both owners for CAs with domains of their own: two CAs for one domain could each speak for the other',
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
