/** The control socket of a running agent: mode 0600, one request per connection. */
import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { ControlError } from './errors.ts';
import { errorResponse, type Json, MAX_REQUEST, type Request, type Response } from './protocol.ts';

export type Handler = (request: Request, progress: (text: string) => void) => Promise<Json>;

/** Throws CONTROL_ALREADY_RUNNING when someone answers at `path`; a socket that nobody answers is replaced. */
export async function serveControl(path: string, handler: Handler): Promise<AsyncDisposable> {
  await refuseSecond(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  rmSync(path, { force: true });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    void answer(socket, handler);
  });
  const umask = process.umask(0o177);
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, () => resolve());
    });
  } finally {
    process.umask(umask);
  }
  chmodSync(path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      rmSync(path, { force: true });
      server.close();
      for (const socket of sockets) socket.end();
    },
  };
}

async function answer(socket: Socket, handler: Handler): Promise<void> {
  const write = (response: Response) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(response)}\n`);
  };
  try {
    const request = await readRequest(socket);
    write({ result: await handler(request, (progress) => write({ progress })) });
  } catch (error) {
    write(errorResponse(error));
  }
  socket.end();
}

async function readRequest(socket: Socket): Promise<Request> {
  let text = '';
  socket.setEncoding('utf8');
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    text += chunk;
    if (text.length > MAX_REQUEST) throw new ControlError('CONTROL_BAD_REQUEST', `request of more than ${MAX_REQUEST} bytes`);
    if (text.includes('\n')) break;
  }
  try {
    const { verb, args } = JSON.parse(text) as Partial<Request>;
    if (typeof verb === 'string' && typeof args === 'object' && args !== null) return { verb, args };
  } catch {
    // Said below, with the text cut away: it may hold anything.
  }
  throw new ControlError('CONTROL_BAD_REQUEST', 'the request is not a verb with arguments');
}

async function refuseSecond(path: string): Promise<void> {
  const isAnswered = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => resolve(false));
  });
  if (isAnswered) throw new ControlError('CONTROL_ALREADY_RUNNING', `an agent answers at ${path}`);
}
