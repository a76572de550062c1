/** Errors of rotations. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const rotationErrors = {
  ROTATION_BAD_MESSAGE:
    'The peer speaks another version or is broken; compare `kelmesh --version` on both ends',
  ROTATION_REFUSED:
    'The peer does not hold the same keys or agreement yet; `kelmesh peer list` shows both, then try again',
  ROTATION_UNREACHABLE:
    'The peer is not connected; what was asked for is done when it is back, `kelmesh rotate status` shows it',
  ROTATION_NO_TUNNEL: 'There is no tunnel whose key could change; `kelmesh status` says why',
  ROTATION_NOT_A_MEMBER:
    'Nothing was touched; compare the name with `kelmesh mesh show`: it must be the name or the whole AID of another member',
  ROTATION_NOT_ASKED:
    'Nothing was touched; `rotation.asked-by` in the configuration of that member says who may ask it to rotate',
  ROTATION_TOO_SOON:
    'Nothing was touched; a member that rotates on request does so once an hour, its own operator may at any time',
} as const satisfies ErrorTable;

export class RotationError extends MeshError<keyof typeof rotationErrors> {
  constructor(code: keyof typeof rotationErrors, message: string, details?: ErrorDetails) {
    super(code, message, rotationErrors, details);
  }
}
