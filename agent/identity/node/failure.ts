/** What goes wrong while a node asks its organisation. */
import { failuresAs } from '../../network/conversation.ts';
import { NodeError } from './errors.ts';

export const nodeFailure = failuresAs(
  {
    unreachable: 'NODE_BAD_ANSWER',
    silent: 'NODE_BAD_ANSWER',
    ended: 'NODE_BAD_ANSWER',
    refused: 'NODE_BAD_REQUEST',
    malformed: 'NODE_BAD_REQUEST',
  },
  (...failure) => new NodeError(...failure),
);
