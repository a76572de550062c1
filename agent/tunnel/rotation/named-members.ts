/** The members that a rotation is about. */
import type { Member } from '../../mesh/membership/charter.ts';
import { RotationError } from './errors.ts';

/**
 * @param others all other members of the mesh  @param peer name or AID of one; undefined: all
 * Throws ROTATION_NOT_A_MEMBER: nothing was touched then.
 */
export function namedMembers(
  others: readonly Member[],
  peer: string | undefined,
): readonly Member[] {
  if (peer === undefined) return others;
  const member = others.find(({ aid, name }) => aid === peer || name === peer);
  if (member === undefined)
    throw new RotationError(
      'ROTATION_NOT_A_MEMBER',
      `${peer.slice(0, 64)} is not another member of the mesh`,
    );
  return [member];
}
