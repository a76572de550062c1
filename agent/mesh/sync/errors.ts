/** Errors of the sync protocol and of the binding of a network peer to an AID. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const syncErrors = {
  SYNC_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  SYNC_NOT_BOUND:
    'The peer did not prove that its network identity belongs to its AID; it is refused until it does',
  SYNC_NOT_A_MEMBER: 'Ask the governing organisation to run `kelmesh mesh admit` with this AID',
  SYNC_WRONG_MESH: 'The two ends follow different charters; compare `kelmesh mesh show` on both',
  SYNC_TIMEOUT: 'The peer answers too slowly; the session is tried again',
} as const satisfies ErrorTable;

export class SyncError extends MeshError<keyof typeof syncErrors> {
  constructor(code: keyof typeof syncErrors, message: string, details?: ErrorDetails) {
    super(code, message, syncErrors, details);
  }
}
