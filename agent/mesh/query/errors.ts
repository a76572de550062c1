import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const queryErrors = {
  QUERY_NO_MEMBER: 'No member is connected; `kelmesh peer list` shows who should be, and why not',
  QUERY_REFUSED:
    'The reason of the member that was asked says what to change; `kelmesh watch add AID` follows a log that no member holds',
  QUERY_NOT_A_MEMBER:
    'Only members are answered, about logs of the mesh and those that are watched',
  QUERY_BUSY: 'This member has asked too often; wait a minute',
  QUERY_TIMEOUT: 'The member answers too slowly; ask again, or in parts with `--from SN`',
  QUERY_BAD_MESSAGE:
    'The peer speaks another version of the query protocol or is broken; compare `kelmesh --version` on both ends',
} as const satisfies ErrorTable;

export class QueryError extends MeshError<keyof typeof queryErrors> {
  constructor(code: keyof typeof queryErrors, message: string, details?: ErrorDetails) {
    super(code, message, queryErrors, details);
  }
}
