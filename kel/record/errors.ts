import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const recordErrors = {
  RECORD_MALFORMED:
    'Ask the sender for the record again; if it repeats, its software does not write canonical CBOR records and needs an update',
  RECORD_TOO_LARGE:
    'Split what the record says, or remove entries from it: records have a fixed bound',
  RECORD_UNKNOWN_TYPE:
    'Update this agent, if the sender runs a newer version; the record was ignored',
  RECORD_UNKNOWN_EXTENSION:
    'Update this agent: the issuer runs a newer version, and says that nobody may act on the record without understanding the named extension',
  RECORD_NOT_POSSESSED:
    'Discard the record: its issuer has not shown that it holds the WireGuard key. If it is its own, its operator rotates the tunnel keys',
  RECORD_BAD_FIELD: 'Correct the named field in the configuration of whoever issued the record',
  RECORD_WRONG_SAID:
    'Discard the record and fetch it from another peer: it was changed after it was issued',
  RECORD_BAD_ATTACHMENT:
    'Ask the sender for the record with its signature groups: one for most types, two for a tunnel proof',
  RECORD_WRONG_SIGNER:
    'Discard the record: it carries the signature of an identity other than the one it speaks for',
  RECORD_UNKNOWN_ESTABLISHMENT:
    'Fetch the key event log of the signer up to the named establishment event, then try again',
  RECORD_THRESHOLD_NOT_MET:
    'Collect signatures of more keys of the signer, or fetch the record from its issuer again',
  RECORD_NOT_SEALED:
    'Fetch the newest key event log of the issuer; if it does not seal the record, the issuer never committed to it',
  RECORD_TOO_MANY:
    'The issuer makes new records faster than they are taken; a later session brings it. If it goes on, ask its operator why, or remove the member',
} as const satisfies ErrorTable;

export class RecordError extends MeshError<keyof typeof recordErrors> {
  constructor(code: keyof typeof recordErrors, message: string, details?: ErrorDetails) {
    super(code, message, recordErrors, details);
  }
}

/** Nothing is wrong with the record: it says what only a later version of this program understands. */
export function isOfLaterVersion(error: unknown): boolean {
  return (
    error instanceof RecordError &&
    (error.code === 'RECORD_UNKNOWN_TYPE' || error.code === 'RECORD_UNKNOWN_EXTENSION')
  );
}
