import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const storeErrors = {
  STORE_CORRUPT:
    'Stop the agent, move the store directory aside, start again and let the peers send the logs; for your own log restore the newest backup',
  STORE_WRITE_FAILED:
    'Check free space and permissions of the store directory; nothing was announced, and the next call reads the disk again first',
  STORE_CLOSED:
    'Open the store again; this is a programming error unless the agent is shutting down',
} as const satisfies ErrorTable;

export class StoreError extends MeshError<keyof typeof storeErrors> {
  constructor(code: keyof typeof storeErrors, message: string, details?: ErrorDetails) {
    super(code, message, storeErrors, details);
  }
}
