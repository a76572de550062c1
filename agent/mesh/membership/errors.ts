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
    "A charter without its governor would be nobody's: hand the governing over first, `kelmesh mesh hand-over NAME`; to name another successor, `--withdraw` the former",
  MESH_NEVER_ASKED:
    'Compare the AID with the one that the other side reads to you: a mistyped AID is admitted as well as a right one. `--yes` admits it',
  MESH_REMOVED:
    'Read why it was removed, in `kelmesh revoke status`; `--again` admits it all the same',
  MESH_REVOKED:
    'It stays out for ever: its organisation makes a new node, `kelmesh node add` and `node request`, which has another AID',
  MESH_NOT_OFFERED:
    'The governor names the successor first, with `kelmesh mesh hand-over`; wait until this organisation has that charter',
  MESH_UPGRADED: 'Nothing to do: every member writes its records in the newer version',
  MESH_NOT_READY:
    'Update the agents that are named, or bring them up and connect them, and look again with `kelmesh mesh upgrade --check`; `--without NAME` leaves one behind, whose tunnels get no newer keys until it is updated',
  MESH_RECORDS_OLD:
    'The charter of this mesh is of version 1 of records, which has no room for a policy: `kelmesh mesh upgrade` first, at the governor',
  MESH_BAD_POLICY:
    'Correct the lines that are named; `kelmesh mesh policy check FILE` reads the file without changing anything',
  MESH_POLICY_MOVED: 'Look at the difference again: run the command once more',
  MESH_LEAVE_UNSURE:
    'The charter names this organisation until its governor removes it; `--yes` leaves all the same',
} as const satisfies ErrorTable;

export class MembershipError extends MeshError<keyof typeof membershipErrors> {
  constructor(code: keyof typeof membershipErrors, message: string, details?: ErrorDetails) {
    super(code, message, membershipErrors, details);
  }
}
