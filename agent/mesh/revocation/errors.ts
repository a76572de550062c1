/** Errors of revocations. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const revocationErrors = {
  REVOKE_BAD_REASON:
    'Give `--reason` with 1 to 280 characters: everybody reads it, for as long as the log lasts',
  REVOKE_UNKNOWN:
    'Nothing was revoked; `kelmesh node list` names the own nodes, `kelmesh revoke status` and `kelmesh rotate status` the key epochs, `kelmesh mesh show` the organisations',
  REVOKE_NOT_YOURS:
    'Nothing was revoked; an organisation revokes its own epochs and the nodes that it delegated, a governor revokes organisations',
  REVOKE_ALREADY: 'Nothing to do; `kelmesh revoke status` shows who has applied it',
} as const satisfies ErrorTable;

export class RevocationError extends MeshError<keyof typeof revocationErrors> {
  constructor(code: keyof typeof revocationErrors, message: string, details?: ErrorDetails) {
    super(code, message, revocationErrors, details);
  }
}
