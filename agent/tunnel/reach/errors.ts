/** Errors of finding a way between two devices. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';
import { failuresAs } from '../../network/conversation.ts';

export const reachErrors = {
  REACH_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  REACH_BUSY: 'A way between the same two devices is looked for already; this ends by itself',
  REACH_NO_WAY:
    'Let UDP out at both ends, or start a member with a public `--endpoint`: it relays what finds no other way',
  REACH_REFUSED:
    'The peer does not hold the same keys yet, or lends no relay; it is asked again by itself',
  REACH_UNREACHABLE: 'The peer is not connected; a way is looked for when it is back',
} as const satisfies ErrorTable;

export class ReachError extends MeshError<keyof typeof reachErrors> {
  constructor(code: keyof typeof reachErrors, message: string, details?: ErrorDetails) {
    super(code, message, reachErrors, details);
  }
}

export const reachFailure = failuresAs(
  {
    unreachable: 'REACH_UNREACHABLE',
    silent: 'REACH_UNREACHABLE',
    ended: 'REACH_UNREACHABLE',
    refused: 'REACH_REFUSED',
    malformed: 'REACH_BAD_MESSAGE',
  },
  (...failure) => new ReachError(...failure),
);
