/** Errors of the own identity: its keys, its log, its records. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const identityErrors = {
  IDENTITY_EXISTS:
    'This state directory already holds an identity; use another directory, or `kelmesh id show`',
  IDENTITY_MISSING: 'Run `kelmesh init` with this configuration first',
  IDENTITY_KEYS_LOST:
    'The key store holds neither the current nor the next keys of the log; put back the newest backup of it, or of its next keys (`kelmesh id backup`)',
  IDENTITY_CURRENT_KEYS_LOST:
    'Run `kelmesh id rotate` while the agent is stopped: it needs the next keys alone, and they are here. If this state directory comes from a backup, bring the own log from a member: `kelmesh id rotate --adopt --log FILE`',
  IDENTITY_NEXT_KEYS_LOST:
    'Put back a backup of the key store that was made after the last rotation, or that of the next keys (`kelmesh id backup`): without the next keys this AID never rotates again',
  IDENTITY_EVENT_REFUSED:
    'The own event was not accepted by the own log; nothing was published, report this with the code it names',
  IDENTITY_LOG_DIVERGED:
    'The log has been rotated elsewhere. If this state directory comes from a backup, run `kelmesh id rotate --adopt` with the newest key store, agent stopped; if it does not, the next keys are in other hands: inform the peers',
  IDENTITY_AWAITS_RECOVERY:
    'Own events are suspended. If somebody else has signed it: `kelmesh id rotate`, which takes it out of the log. If this state directory comes from a backup and it is yours: `kelmesh id rotate --adopt`',
  IDENTITY_AWAITS_PEERS:
    'With a member in reach it takes seconds: what the agent does by itself is then done, and a command of yours can be given again. If none can be reached and you know that this state directory is no older copy: `kelmesh id confirm`, then the command again; that needs nobody',
  IDENTITY_AWAITS_CONFIRMATION:
    'An older copy of a store was put back. Put the newest state directory back; or bring the own log from a member (`kelmesh id import FILE`); or, if you know that this is the newest, `kelmesh id confirm`: an own event made in error forks the log, and the peers suspend the AID',
  IDENTITY_AWAITS_OPERATOR:
    'Stop one of the two: `kelmesh status` names the addresses of the other. Then `kelmesh id confirm` at the one that lives: before that, or a rotation or a fresh start, it makes no own event by itself; what you ask for (`kelmesh id rotate`, `rotate all`, `revoke`) is done. If the copy is not yours: `kelmesh id rotate` now, and inform the peers',
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
