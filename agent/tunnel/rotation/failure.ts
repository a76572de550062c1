/** What goes wrong in an exchange about rotations. */
import type { ExchangeFailure } from '../../network/exchange.ts';
import { RotationError } from './errors.ts';

const codes = {
  unreachable: 'ROTATION_UNREACHABLE',
  refused: 'ROTATION_REFUSED',
  malformed: 'ROTATION_BAD_MESSAGE',
} as const;

export const rotationFailure: ExchangeFailure = (kind, message, details) =>
  new RotationError(codes[kind], message, details);

/** The code of a refusal whose reason has none. */
export const REFUSED = codes.refused;
