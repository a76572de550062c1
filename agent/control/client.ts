/** Asks a running agent over its control socket. */
import { connect, type Socket } from 'node:net';
import { MeshError } from '#src/errors';
import { ControlError } from './errors.ts';
import { type Json, MAX_RESPONSE, type Request, type Response } from './protocol.ts';

/** An error that the agent reported: code, message and hint are its own. */
export class RemoteError extends MeshError {
  constructor(error: { readonly code: string; readonly message: string; readonly hint: string }) {
    super(error.code, error.message, {}, { hint: error.hint });
  }
}

/** Throws CONTROL_NOT_RUNNING, CONTROL_NO_ACCESS, or what the agent reports. */
export async function askAgent(
  path: string,
  request: Request,
  progress: (text: string) => void,
): Promise<Json> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error: NodeJS.ErrnoException) => reject(connectError(path, error)));
  });
  socket.write(`${JSON.stringify(request)}\n`);
  socket.setEncoding('utf8');
  for await (const line of linesOf(socket)) {
    const response = parseResponse(line);
    if ('progress' in response) progress(response.progress);
    else if ('error' in response) throw new RemoteError(response.error);
    else return response.result;
  }
  throw new ControlError('CONTROL_NOT_RUNNING', 'the agent ended while it was asked');
}

/** Ends with the connection, however it ends; leaving the loop closes it. */
async function* linesOf(socket: Socket): AsyncGenerator<string> {
  let pieces: string[] = [];
  let size = 0;
  try {
    for await (const chunk of socket as AsyncIterable<string>) {
      const [first = '', ...others] = chunk.split('\n');
      pieces.push(first);
      size += first.length;
      if (size > MAX_RESPONSE)
        throw new ControlError('CONTROL_BAD_REQUEST', `answer of more than ${MAX_RESPONSE} bytes`);
      for (const other of others) {
        yield pieces.join('');
        pieces = [other];
        size = other.length;
      }
    }
  } catch (error) {
    if (error instanceof MeshError) throw error;
    throw new ControlError('CONTROL_NOT_RUNNING', 'the agent ended while it was asked', {
      cause: error,
    });
  } finally {
    socket.destroy();
  }
}

function parseResponse(line: string): Response {
  try {
    const response: unknown = JSON.parse(line);
    if (
      typeof response === 'object' &&
      response !== null &&
      ('progress' in response || 'error' in response || 'result' in response)
    )
      return response as Response;
  } catch {
    // Said below.
  }
  throw new ControlError('CONTROL_BAD_REQUEST', 'the answer is not of this protocol');
}

function connectError(path: string, error: NodeJS.ErrnoException): ControlError {
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new ControlError('CONTROL_NO_ACCESS', `no access to ${path}`, { cause: error });
  return new ControlError('CONTROL_NOT_RUNNING', `no agent answers at ${path}`, { cause: error });
}
