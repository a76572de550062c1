/** Errors of mesh, charter and invite. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const membershipErrors = {
  MESH_EXISTS: 'this organisation is already in a mesh; `kelmesh mesh show` tells which',
  MESH_NONE:
    'run `kelmesh mesh create NAME`, or `kelmesh mesh join LINE` with a line that a governor gave you',
  MESH_BAD_INVITE: 'copy the whole line that `kelmesh mesh invite` printed, in quotes',
  MESH_NOT_GOVERNOR: 'run this command at the organisation that governs the mesh',
  MESH_NOT_A_MEMBER:
    'compare the AID with `kelmesh mesh show`; it must be the whole AID or the name of a member',
  MESH_ALREADY_MEMBER: 'nothing to do: the charter names it already',
  MESH_NAME_TAKEN: 'give another name with `--name`',
  MESH_BAD_NAME: 'use 1 to 63 of a-z, 0-9 and hyphen',
  MESH_GOVERNOR_STAYS:
    "a charter without its governor would be nobody's; hand the governing over first",
} as const satisfies ErrorTable;

export class MembershipError extends MeshError<keyof typeof membershipErrors> {
  constructor(code: keyof typeof membershipErrors, message: string, details?: ErrorDetails) {
    super(code, message, membershipErrors, details);
  }
}
