/** What goes wrong while a query is asked and answered. */
import { failuresAs } from '../../network/conversation.ts';
import { QueryError } from './errors.ts';

export const queryFailure = failuresAs(
  {
    unreachable: 'QUERY_NO_MEMBER',
    silent: 'QUERY_TIMEOUT',
    ended: 'QUERY_BAD_MESSAGE',
    refused: 'QUERY_REFUSED',
    malformed: 'QUERY_BAD_MESSAGE',
  },
  (...failure) => new QueryError(...failure),
);
