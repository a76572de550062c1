/** The other end: a process that holds keys, answers one request at a time, and ends with its parent. */
import { confine } from '#src/confinement';
import {
  type KeyStoreFailure,
  type KeyStoreReply,
  type KeyStoreRequest,
  parseRequest,
} from './protocol.ts';

/** @param answer what each request is answered with  @param failureOf what its error is told as */
export function serveKeys(
  answer: (request: KeyStoreRequest) => Promise<unknown>,
  failureOf: (error: unknown, request: KeyStoreRequest) => KeyStoreFailure,
): void {
  confine();
  const reply = async (message: unknown): Promise<KeyStoreReply> => {
    const request = parseRequest(message);
    if (request === undefined)
      return {
        ok: false,
        failure: {
          code: 'KEYSTORE_TOKEN_FAILED',
          message: 'malformed request',
          recovery: 'restart',
        },
      };
    try {
      return { ok: true, value: await answer(request) };
    } catch (error) {
      return { ok: false, failure: failureOf(error, request) };
    }
  };
  // A terminal's interrupt and the service manager's stop go to every process; the parent decides when this one ends.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  process.on('disconnect', () => process.exit(0));
  process.on('message', (message) => {
    void reply(message).then((answered) => process.send?.(answered));
  });
}
