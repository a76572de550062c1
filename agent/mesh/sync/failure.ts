/** What goes wrong while logs, records, evidence and knocks travel. */
import { failuresAs } from '../../network/conversation.ts';
import { SyncError } from './errors.ts';

export const syncFailure = failuresAs(
  {
    unreachable: 'SYNC_TIMEOUT',
    silent: 'SYNC_TIMEOUT',
    ended: 'SYNC_BAD_MESSAGE',
    refused: 'SYNC_NOT_A_MEMBER',
    malformed: 'SYNC_BAD_MESSAGE',
  },
  (...failure) => new SyncError(...failure),
);
