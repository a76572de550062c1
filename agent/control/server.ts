/** The control socket of a running agent: mode 0600, one request per connection. */
import { chmodSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { ControlError } from './errors.ts';
import { errorResponse, type Json, MAX_REQUEST, type Request, type Response } from './protocol.ts';

/** A request is complete within this, or its connection ends: one that says nothing holds no place. */
const REQUEST_MS = 10_000;
/** Connections whose request is not complete. */
const MAX_WAITING = 64;

interface ControlLimits {
  readonly requestMs: number;
  readonly waiting: number;
}

export type Handler = (request: Request, progress: (text: string) => void) => Promise<Json>;

/** Throws CONTROL_ALREADY_RUNNING when someone answers at `path`, CONTROL_NO_ACCESS, CONTROL_START_FAILED; a socket that nobody answers is replaced. */
export async function serveControl(
  path: string,
  handler: Handler,
  limits: ControlLimits = { requestMs: REQUEST_MS, waiting: MAX_WAITING },
): Promise<AsyncDisposable> {
  await refuseSecond(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  removeSocket(path);
  const sockets = new Set<Socket>();
  /** Oldest first. */
  const waiting = new Set<Socket>();
  // Half open: who ends its side after the request still gets the answer.
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    waiting.add(socket);
    const [oldest] = waiting;
    if (waiting.size > limits.waiting) oldest?.destroy();
    const deadline = setTimeout(() => socket.destroy(), limits.requestMs);
    const heard = () => {
      clearTimeout(deadline);
      waiting.delete(socket);
    };
    socket.once('close', heard);
    void answer(socket, handler, heard);
  });
  await listen(server, path);
  chmodSync(path, 0o600);
  return {
    [Symbol.asyncDispose]: async () => {
      rmSync(path, { force: true });
      server.close();
      // The answer to `down` is ready and has its turn first.
      await new Promise(setImmediate);
      for (const socket of sockets) socket.end();
    },
  };
}

/** Refuses to remove what is no socket: the path may be a slip of the pen in the configuration. */
function removeSocket(path: string): void {
  const found = lstatSync(path, { throwIfNoEntry: false });
  if (found === undefined) return;
  if (!found.isSocket())
    throw new ControlError('CONTROL_START_FAILED', `${path} is there and is no socket`, {
      hint: 'Set `socket` in the section [control] to a path where nothing else is',
    });
  rmSync(path, { force: true });
}

async function listen(server: Server, path: string): Promise<void> {
  const listening = Promise.withResolvers<void>();
  server.once('listening', listening.resolve);
  server.once('error', (cause) =>
    listening.reject(
      new ControlError(
        'CONTROL_START_FAILED',
        `cannot listen at ${path.slice(0, 256)}: ${cause.message}`,
        {
          cause,
          hint: 'Set `socket` in the section [control] to a short path in a directory that can be written',
        },
      ),
    ),
  );
  // The socket is bound before `listen` returns; the mask of the whole process holds for no longer than that.
  const umask = process.umask(0o177);
  try {
    server.listen(path);
  } finally {
    process.umask(umask);
  }
  await listening.promise;
}

async function answer(socket: Socket, handler: Handler, heard: () => void): Promise<void> {
  const write = (response: Response) => {
    if (!socket.destroyed) socket.write(`${JSON.stringify(response)}\n`);
  };
  try {
    const request = await readRequest(socket);
    heard();
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
    if (Buffer.byteLength(text) > MAX_REQUEST)
      throw new ControlError('CONTROL_BAD_REQUEST', `request of more than ${MAX_REQUEST} bytes`);
    if (text.includes('\n')) break;
  }
  try {
    const { verb, args } = JSON.parse(text) as Partial<Request>;
    if (
      typeof verb === 'string' &&
      typeof args === 'object' &&
      args !== null &&
      !Array.isArray(args)
    )
      return { verb, args };
  } catch {
    // Said below, with the text cut away: it may hold anything.
  }
  throw new ControlError('CONTROL_BAD_REQUEST', 'the request is not a verb with arguments');
}

async function refuseSecond(path: string): Promise<void> {
  const isAnswered = await new Promise<boolean>((resolve, reject) => {
    const probe = connect(path);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (cause: NodeJS.ErrnoException) => {
      // Another user's agent may well be alive behind it.
      if (cause.code === 'EACCES' || cause.code === 'EPERM')
        reject(new ControlError('CONTROL_NO_ACCESS', `no access to ${path}`, { cause }));
      else resolve(false);
    });
  });
  if (isAnswered) throw new ControlError('CONTROL_ALREADY_RUNNING', `an agent answers at ${path}`);
}
