/** Asks a running agent over its control socket. */
import { connect } from 'node:net';
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
export async function askAgent(path: string, request: Request, progress: (text: string) => void): Promise<Json> {
  const socket = connect(path);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('error', (error: NodeJS.ErrnoException) => reject(connectError(path, error)));
  });
  socket.write(`${JSON.stringify(request)}\n`);
  socket.setEncoding('utf8');
  let text = '';
  for await (const chunk of socket) {
    text += chunk;
    if (text.length > MAX_RESPONSE) throw new ControlError('CONTROL_BAD_REQUEST', `answer of more than ${MAX_RESPONSE} bytes`);
    const lines = text.split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) {
      const response = JSON.parse(line) as Response;
      if ('progress' in response) progress(response.progress);
      else if ('error' in response) throw new RemoteError(response.error);
      else {
        socket.destroy();
        return response.result;
      }
    }
  }
  throw new ControlError('CONTROL_NOT_RUNNING', 'the agent ended while it was asked');
}

function connectError(path: string, error: NodeJS.ErrnoException): ControlError {
  if (error.code === 'EACCES' || error.code === 'EPERM') return new ControlError('CONTROL_NO_ACCESS', `no access to ${path}`, { cause: error });
  return new ControlError('CONTROL_NOT_RUNNING', `no agent answers at ${path}`, { cause: error });
}
