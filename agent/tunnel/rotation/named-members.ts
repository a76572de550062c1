/** The members that a rotation is about. */
import type { Member } from '../../mesh/membership/charter.ts';
import type { Standing } from '../../mesh/membership/standing.ts';
import { RotationError } from './errors.ts';

/**
 * @param peer name or AID of another member in good standing; undefined: all of them
 * Throws ROTATION_NOT_A_MEMBER: nothing was touched then.
 */
export function namedMembers(
  standing: Pick<Standing, 'others' | 'other' | 'member'>,
  peer: string | undefined,
): readonly Member[] {
  if (peer === undefined) return standing.others;
  const named = standing.member(peer);
  const member = named === undefined ? undefined : standing.other(named.aid);
  if (member === undefined)
    throw new RotationError(
      'ROTATION_NOT_A_MEMBER',
      `${peer.slice(0, 64)} is not another member of the mesh`,
    );
  return [member];
}
