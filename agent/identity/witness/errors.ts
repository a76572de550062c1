/** Errors of witnessing: as a witness of others, and of the own witnesses. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const witnessErrors = {
  WITNESS_BAD_REQUEST:
    'The other end speaks another version or is broken; compare `kelmesh --version` on both',
  WITNESS_NOT_SERVED:
    'Ask the operator of the witness to run `kelmesh witness allow` with this AID, or to admit it to the mesh',
  WITNESS_NOT_LISTED:
    'The event does not name this witness; add it with `kelmesh witness add` before asking it',
  WITNESS_SECOND_EVENT:
    'The witness has receipted another event at this sequence number and keeps both as evidence; rotate with the pre-rotated keys if the first one is not yours',
  WITNESS_BUSY:
    'The witness takes no more requests from this peer for now; it is asked again later',
  WITNESS_FULL:
    'Nothing that was receipted is forgotten to make room. Of one AID: rotate, or go on with other witnesses (`kelmesh witness cut`); of allowed AIDs: take some back with `kelmesh witness deny`',
  WITNESS_UNREACHABLE:
    'The witness is not connected; `kelmesh peer list` shows its agent, and receipts are asked for again when it is back',
  WITNESS_UNKNOWN:
    'Name a member by name or AID whose agent is connected, or a witness AID that one of them serves',
  WITNESS_LISTED: '`kelmesh witness list` shows the witnesses as they are',
  WITNESS_BAD_THRESHOLD: 'Give a threshold from 1 to the number of witnesses, or 0 with none',
} as const satisfies ErrorTable;

export type WitnessErrorCode = keyof typeof witnessErrors;

export class WitnessError extends MeshError<WitnessErrorCode> {
  constructor(code: WitnessErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, witnessErrors, details);
  }
}
