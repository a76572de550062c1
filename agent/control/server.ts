/** The sockets of a running agent, one request per connection: mode 0600 for control, 0660 for a group that reads. */
import { chmodSync, chownSync, lstatSync, mkdirSync, rmSync } from 'node:fs';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { expectTrustedPlace } from '#src/files/trust';
import { ControlError } from './errors.ts';
import { errorResponse, MAX_REQUEST, type Request, type Response } from './protocol.ts';
import { readingVerbs } from './verb-table.ts';

/** A request is complete within this, or its connection ends: one that says nothing holds no place. */
const REQUEST_MS = 10_000;
/** Connections whose request is not complete. */
const MAX_WAITING = 64;
/** Connections in all, those whose answer has not been read included. */
const MAX_CONNECTIONS = 256;

interface ControlLimits {
  readonly requestMs: number;
  readonly waiting: number;
}

export type Handler = (request: Request, progress: (text: string) => void) => Promise<unknown>;

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
  server.maxConnections = MAX_CONNECTIONS;
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

/**
 * A socket of its own for reading, mode 0660, of `group`; what is not in {@link readingVerbs} it refuses. Its directory must be one
 * in which nobody else can put another socket in its place; it is made when there is none, and everybody may pass through it.
 * @throws as {@link serveControl}; CONTROL_NO_ACCESS when this user may not give a file to the group, FILE_OTHERS_CAN_WRITE
 */
export async function serveReading(
  path: string,
  group: number,
  handler: Handler,
): Promise<AsyncDisposable> {
  const made = mkdirSync(dirname(path), { recursive: true, mode: 0o711 });
  // Whatever the mask of the process leaves of it.
  if (made !== undefined) chmodSync(dirname(path), 0o711);
  expectTrustedPlace(dirname(path));
  const server = await serveControl(path, (request, progress) => {
    if (readingVerbs.has(request.verb)) return handler(request, progress);
    throw new ControlError(
      'CONTROL_READS_ONLY',
      `${request.verb.slice(0, 64)} changes something, and this socket is for reading`,
    );
  });
  try {
    // The group first: nobody else's ever has access.
    chownSync(path, -1, group);
    chmodSync(path, 0o660);
  } catch (cause) {
    await server[Symbol.asyncDispose]();
    throw new ControlError('CONTROL_NO_ACCESS', `cannot give ${path} to group ${group}`, {
      cause,
      hint: 'Put the user who runs the agent into that group (`SupplementaryGroups=` under systemd)',
    });
  }
  return server;
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
  const write = (response: Response | { readonly result: unknown }) => {
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
