/** Errors of mesh, charter and invite. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const membershipErrors = {
  MESH_EXISTS: 'This organisation is already in a mesh; `kelmesh mesh show` tells which',
  MESH_NONE:
    'Run `kelmesh mesh create NAME`, or `kelmesh mesh join LINE` with a line that a governor gave you',
  MESH_BAD_INVITE: 'Copy the whole line that `kelmesh mesh invite` printed, in quotes',
  MESH_NOT_GOVERNOR: 'Run this command at the organisation that governs the mesh',
  MESH_NOT_A_MEMBER:
    'Compare the AID with `kelmesh mesh show`; it must be the whole AID or the name of a member',
  MESH_ALREADY_MEMBER: 'Nothing to do: the charter names it already',
  MESH_NAME_TAKEN: 'Give another name with `--name`',
  MESH_BAD_NAME: 'Use 1 to 63 of a-z, 0-9 and hyphen',
  MESH_GOVERNOR_STAYS:
    "A charter without its governor would be nobody's, and this version cannot hand the governing over",
} as const satisfies ErrorTable;

export class MembershipError extends MeshError<keyof typeof membershipErrors> {
  constructor(code: keyof typeof membershipErrors, message: string, details?: ErrorDetails) {
    super(code, message, membershipErrors, details);
  }
}
