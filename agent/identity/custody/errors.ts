/** Errors of several custodians: cards, proposals, their signatures, and the log that they make. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const custodyErrors = {
  CUSTODY_MALFORMED:
    'The file is cut short, changed or of another kind; get it again from whoever made it, and do not edit it',
  CUSTODY_BAD_CARD:
    'The card does not prove that its maker holds the key; have the custodian make it again',
  CUSTODY_BAD_PROPOSAL:
    'Nothing was signed; have the proposal made again from the log as it stands',
  CUSTODY_BAD_SIGNATURE:
    'Take the copies that the custodians gave you themselves; the one with this signature was changed on its way',
  CUSTODY_DIFFERENT_EVENTS:
    'Submit only copies of one proposal; `kelmesh id propose show FILE` tells what a file proposes',
  CUSTODY_NOT_A_SIGNER:
    'Use the configuration of the machine whose card is in the proposal; `kelmesh id propose show FILE` names the keys that can sign',
  CUSTODY_UNEXPLAINED_SEALS:
    'Have the proposal made with what it seals enclosed (`--record`, `--approve`), or sign with `--allow-unknown-seals` when you know by other means what it is',
  CUSTODY_SIGNED_OTHER:
    'Two signed events at one place of a log are duplicity. Sign this one only when you are sure that the other can never be submitted: `--instead-of SAID`',
  CUSTODY_STALE:
    'The proposal is built on an older log than this machine has seen; have it made again from the log as it stands',
  CUSTODY_NOT_CONFIRMED:
    'Nothing was signed; read what the proposal does and answer yes, or give `--yes` in a script',
  CUSTODY_EXISTS:
    'This machine is a custodian already; use another state directory for another organisation',
  CUSTODY_MISSING: 'Run `kelmesh id custodian init` with this configuration first',
  CUSTODY_LOG_NEEDED:
    'Give the log as it stands with `--log FILE` (`kelmesh id export` on the machine that holds it)',
  CUSTODY_AWAITS_SIGNATURES:
    'Bring the proposal to the custodians who are named, then submit all copies together',
  CUSTODY_REFUSED: 'The log is as it was; make a new proposal from the log as it stands',
  CUSTODY_NO_LOG:
    'Submit the inception here first, or use the configuration of the machine that holds the log',
  CUSTODY_NO_AGENT:
    'Run the agent under a node AID of its own configuration, which the organisation approves with `kelmesh id propose interaction --approve FILE`; change the organisation with `kelmesh id propose`',
} as const satisfies ErrorTable;

export class CustodyError extends MeshError<keyof typeof custodyErrors> {
  constructor(code: keyof typeof custodyErrors, message: string, details?: ErrorDetails) {
    super(code, message, custodyErrors, details);
  }
}
