import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const auditErrors = {
  AUDIT_BAD_NOTE: 'Ask the sender for the note again; it was damaged or is not a C2SP signed note',
  AUDIT_BAD_KEY: 'Take the verifier key from the sealed `log` record of its owner',
  AUDIT_BAD_SIGNATURE:
    'Keep the note as evidence: a known key name carries a signature that does not verify',
  AUDIT_NO_SIGNATURE:
    'Get the verifier keys that the log announced, or a note signed by one of them',
  AUDIT_BAD_CHECKPOINT:
    'Ask the log for its checkpoint again; three lines are expected: origin, size, root',
  AUDIT_OUT_OF_RANGE: 'Ask for an index or size within the log; `checkpoint` tells its size',
  AUDIT_LEAF_TOO_LARGE: 'Log a digest of the large value and keep the value elsewhere',
  AUDIT_CORRUPT:
    'Stop using this copy of the log; restore it from a backup or mirror and compare its root with a checkpoint that peers hold',
  AUDIT_ROLLBACK:
    'Do not sign: restore the newer log, or open a successor log and seal its `log` record',
  AUDIT_WRITE_FAILED:
    'Free disk space or repair the disk, then restart: the log is read again from its files',
  AUDIT_CLOSED: 'Open the log again',
} as const satisfies ErrorTable;

export class AuditError extends MeshError<keyof typeof auditErrors> {
  constructor(code: keyof typeof auditErrors, message: string, details?: ErrorDetails) {
    super(code, message, auditErrors, details);
  }
}
