/** One question and one answer over the unix socket of a userspace device. */
import { createConnection } from 'node:net';
import { WireGuardError } from './errors.ts';

/** 65,536 peers with ten prefixes each. */
const MAX_REPLY_BYTES = 64 * 1024 * 1024;
const DEFAULT_TIMEOUT_MS = 10_000;

const NEWLINE = 0x0a;

/** The bytes of a request and its reply live for one exchange: both are filled with zeros, since both may hold keys. */
export async function exchangeUapi<T>(
  socketPath: string,
  request: Uint8Array,
  parse: (reply: Uint8Array) => T,
  timeoutMs = DEFAULT_TIMEOUT_MS,
): Promise<T> {
  try {
    const reply = await ask(socketPath, request, timeoutMs);
    try {
      return parse(reply);
    } finally {
      reply.fill(0);
    }
  } finally {
    request.fill(0);
  }
}

/** Whether somebody answers at the socket, without asking anything. */
export async function isListening(socketPath: string): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const socket = createConnection(socketPath);
  socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
  const listening = await promise;
  socket.destroy();
  return listening;
}

async function ask(path: string, request: Uint8Array, timeoutMs: number): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const chunks: Buffer[] = [];
  let size = 0;
  let last = 0;
  const socket = createConnection(path);
  const timer = setTimeout(() => {
    reject(
      failed(
        'WIREGUARD_UAPI_TIMEOUT',
        `expected a reply within ${timeoutMs} ms, got ${size} bytes`,
      ),
    );
  }, timeoutMs);
  const failed = (code: UapiFailure, message: string, cause?: unknown) =>
    new WireGuardError(code, `${path}: ${message}`, { cause });
  socket.on('error', (cause: NodeJS.ErrnoException) => {
    reject(failed('WIREGUARD_UAPI_UNREACHABLE', `expected a connection, got ${cause.code}`, cause));
  });
  socket.on('end', () => {
    reject(
      failed(
        'WIREGUARD_UAPI_UNREACHABLE',
        `expected an empty line, got the end after ${size} bytes`,
      ),
    );
  });
  socket.on('data', (chunk: Buffer) => {
    chunks.push(chunk);
    size += chunk.length;
    if (size > MAX_REPLY_BYTES)
      reject(
        failed(
          'WIREGUARD_UAPI_TOO_LARGE',
          `expected at most ${MAX_REPLY_BYTES} bytes, got ${size}`,
        ),
      );
    const before = chunk.length > 1 ? chunk.at(-2) : last;
    last = chunk.at(-1) ?? last;
    if (before === NEWLINE && last === NEWLINE) resolve(Buffer.concat(chunks));
  });
  socket.write(request);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
    for (const chunk of chunks) chunk.fill(0);
  }
}

type UapiFailure =
  | 'WIREGUARD_UAPI_TIMEOUT'
  | 'WIREGUARD_UAPI_UNREACHABLE'
  | 'WIREGUARD_UAPI_TOO_LARGE';
