import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const watchErrors = {
  WATCH_BAD_SOURCE:
    'Give an AID and one source: `--file FILE`, `--url http(s)://…` or `--members`; the source must hold the log of that AID',
  WATCH_FULL: 'Remove a watched AID that is not needed any more with `kelmesh watch remove AID`',
  WATCH_UNKNOWN: '`kelmesh watch list` names the watched AIDs',
  WATCH_UNREACHABLE:
    'Check the address and the network; redirects are not followed, so give the address where the log itself is',
  WATCH_UNREADABLE:
    'Check the path and its permissions; it must be a regular file that the agent can read',
  WATCH_TOO_LARGE: 'The source is larger than any log that is read at once; split it at a message',
  WATCH_NOT_CESR:
    'The source must be a CESR stream of key events, as `kelmesh id export` writes it',
} as const satisfies ErrorTable;

export class WatchError extends MeshError<keyof typeof watchErrors> {
  constructor(code: keyof typeof watchErrors, message: string, details?: ErrorDetails) {
    super(code, message, watchErrors, details);
  }
}
