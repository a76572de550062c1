/** Errors of looks at the path of a tunnel, and of its measurement. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const pathErrors = {
  PATH_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  PATH_REFUSED: 'The peer answers this member no more for the moment; try again in a minute',
  PATH_UNREACHABLE:
    'The agents are not connected, so the other end cannot be asked; `kelmesh doctor` says why',
  PATH_NO_TUNNEL: 'There is no tunnel to measure; `kelmesh doctor --peer NAME` says why',
} as const satisfies ErrorTable;

export class PathError extends MeshError<keyof typeof pathErrors> {
  constructor(code: keyof typeof pathErrors, message: string, details?: ErrorDetails) {
    super(code, message, pathErrors, details);
  }
}
