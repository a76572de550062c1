/** What goes wrong between a witness and those whose events it receipts. */
import { failuresAs } from '../../network/conversation.ts';
import { WitnessError } from './errors.ts';

export const witnessFailure = failuresAs(
  {
    unreachable: 'WITNESS_UNREACHABLE',
    silent: 'WITNESS_UNREACHABLE',
    ended: 'WITNESS_BAD_REQUEST',
    refused: 'WITNESS_NOT_SERVED',
    malformed: 'WITNESS_BAD_REQUEST',
  },
  (...failure) => new WitnessError(...failure),
);
