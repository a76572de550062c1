/** What goes wrong in an exchange about rotations. */
import { failuresAs } from '../../network/conversation.ts';
import { RotationError } from './errors.ts';

/** The code of a refusal whose reason has none. */
export const REFUSED = 'ROTATION_REFUSED';

export const rotationFailure = failuresAs(
  {
    unreachable: 'ROTATION_UNREACHABLE',
    silent: 'ROTATION_UNREACHABLE',
    ended: 'ROTATION_UNREACHABLE',
    refused: REFUSED,
    malformed: 'ROTATION_BAD_MESSAGE',
  },
  (...failure) => new RotationError(...failure),
);
