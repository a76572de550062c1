/** Errors of the own identity: its keys, its log, its records. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const identityErrors = {
  IDENTITY_EXISTS:
    'This state directory already holds an identity; use another directory, or `kelmesh id show`',
  IDENTITY_MISSING: 'Run `kelmesh init` with this configuration first',
  IDENTITY_KEYS_LOST:
    'The key store does not hold the keys that the log names; restore the key store that belongs to this state directory from its backup',
  IDENTITY_EVENT_REFUSED:
    'The own event was not accepted by the own log; nothing was published, report this with the code it names',
  IDENTITY_LOG_DIVERGED:
    'The log holds an event that this agent did not make; rotate from the pre-rotated keys (`kelmesh id rotate`) and inform the peers',
  IDENTITY_AWAITS_WITNESSES:
    'Nothing that the event seals counts yet; `kelmesh witness list` says which witness is missing. It is finished by itself when enough are back; `kelmesh witness cut` removes one that is gone',
  IDENTITY_AWAITS_DELEGATOR:
    'Bring the request to the organisation (`kelmesh node approve`), and its answer back (`kelmesh node accept`)',
} as const satisfies ErrorTable;

export class IdentityError extends MeshError<keyof typeof identityErrors> {
  constructor(code: keyof typeof identityErrors, message: string, details?: ErrorDetails) {
    super(code, message, identityErrors, details);
  }
}
