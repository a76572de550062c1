/** Errors of delegation: nodes that an organisation approves, and the approval that a node waits for. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const nodeErrors = {
  NODE_BAD_REQUEST:
    'Give the file or line that `kelmesh node request` prints on the node, whole and unchanged',
  NODE_NOT_OURS:
    'The node names another organisation; approve it there, or make it anew with `kelmesh node add NAME --organisation AID`',
  NODE_UNKNOWN: '`kelmesh node list` names the nodes and the requests that are known here',
  NODE_AMBIGUOUS:
    'Compare the keys with those that `kelmesh node request` shows on the node, and approve by AID',
  NODE_BUSY:
    'The organisation takes no more requests for now; it is asked again later. Approve or wait, or bring the file of `kelmesh node request` by hand',
  NODE_NO_DELEGATION:
    'The log of this organisation has the trait DND: it can never delegate; incept another identity',
  NODE_NOTHING_WAITS: 'Nothing of this node waits for its organisation; `kelmesh id show` shows it',
  NODE_BAD_ANSWER:
    'Give the file that `kelmesh node approve` has written at the organisation; it holds its log with the approval',
  NODE_TOO_LARGE:
    'The log of the organisation is too long for one message; bring the file of `kelmesh node approve` by hand',
} as const satisfies ErrorTable;

export type NodeErrorCode = keyof typeof nodeErrors;

export class NodeError extends MeshError<NodeErrorCode> {
  constructor(code: NodeErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, nodeErrors, details);
  }
}
