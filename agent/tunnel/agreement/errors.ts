/** Errors of the pair agreement. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const agreementErrors = {
  AGREEMENT_BAD_KEY:
    'The peer sent a key that no honest program makes; nothing was derived from it. Check the path to the peer and its version',
  AGREEMENT_BAD_MAC:
    'The two ends did not derive the same keys: compare the views with `kelmesh peer list`, and check for somebody in the path',
  AGREEMENT_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  AGREEMENT_BAD_SIGNATURE:
    'The peer did not sign with the keys of its log; synchronise its log, and if it stays so treat the peer as an impostor',
  AGREEMENT_CLOCK_SKEW: 'Set the clocks of both nodes (NTP); epochs follow the wall clock',
  AGREEMENT_CONTRIBUTION:
    'Leave this contribution out of the pair policy on both ends: this version cannot take part in it',
  AGREEMENT_EPOCH_FAR:
    'Check the clock of this node; if it is right, the agreement is far too old: make a fresh one',
  AGREEMENT_EPOCH_PAST:
    'Keys of past epochs are erased: check that the clock did not go back, else make a fresh agreement',
  AGREEMENT_NONE: 'No agreement with this peer is stored: make one first',
  AGREEMENT_NOT_ACKNOWLEDGED:
    'The peer did not confirm that it holds the agreement; it is tried afresh',
  AGREEMENT_OWN_SIGNATURE:
    'The own key store did not give signatures that satisfy the own log; check with `kelmesh id show` that the configuration names the key store of this identity',
  AGREEMENT_POLICY:
    'Make the pair policy the same on both ends: contributions and length of an epoch',
  AGREEMENT_STALE_VIEW: 'Synchronise logs and records with the peer, then try again',
  AGREEMENT_STORE_CORRUPT:
    'The stored agreement was changed or sealed under another key: remove it and make a fresh agreement',
  AGREEMENT_STORE_FAILED:
    'Check free space and permissions of the store directory; the key of the new epoch was not handed out',
  AGREEMENT_TIMEOUT: 'The peer or the own token answers too slowly; the agreement is tried afresh',
  AGREEMENT_TOO_MANY:
    'The peer asks for fresh agreements faster than they are made; it is served again in a while. If it goes on, ask its operator why, or remove the member',
  AGREEMENT_UNKNOWN_PEER:
    'Synchronise with the peer first; both ends need the log and the tunnel record of the other',
  AGREEMENT_WRONG_ROLE:
    'The end with the lower AID initiates; this is a programming error or a forged greeting',
  AGREEMENT_WRONG_STATE: 'Start a fresh agreement: each runs once, its messages in order',
} as const satisfies ErrorTable;

export type AgreementErrorCode = keyof typeof agreementErrors;

export class AgreementError extends MeshError<AgreementErrorCode> {
  constructor(code: AgreementErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, agreementErrors, details);
  }
}
