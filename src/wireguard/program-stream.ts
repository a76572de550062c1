/**
 * What the data-plane program tells on one of its sockets: lines of `key=value`, an empty line after each block, and the name of the
 * protocol in the first one.
 */
import { createConnection, type Socket } from 'node:net';
import { WireGuardError } from './errors.ts';

/** Of one block, with its empty line. */
const MAX_BLOCK_BYTES = 512;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * Connects, and hands over each block until the socket is destroyed. A process does not stay for it.
 * @param take throwing ends it as anything does that cannot be read
 * @param lost called once, when the program has ended or said something that cannot be read
 * @throws WIREGUARD_UAPI_UNREACHABLE when nobody listens at the socket
 */
export async function followProgram(
  socketPath: string,
  protocol: string,
  take: (block: string) => void,
  lost: () => void,
): Promise<Socket> {
  const socket = createConnection(socketPath);
  const reader = new BlockReader(protocol);
  let isLost = false;
  const lose = (): void => {
    if (isLost) return;
    isLost = true;
    socket.destroy();
    if (!isGivenUp.has(socket)) lost();
  };
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const timer = setTimeout(() => reject(new Error('no connection')), CONNECT_TIMEOUT_MS);
  socket.once('connect', resolve).once('error', reject);
  try {
    await promise;
  } catch (cause) {
    socket.destroy();
    throw new WireGuardError(
      'WIREGUARD_UAPI_UNREACHABLE',
      `${socketPath}: expected a connection, got ${(cause as NodeJS.ErrnoException).code ?? 'none'}`,
      { cause },
    );
  } finally {
    clearTimeout(timer);
  }
  socket.on('error', lose).on('close', lose);
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const block of reader.read(chunk)) {
        if (socket.destroyed) return;
        take(block);
      }
    } catch {
      lose();
    }
  });
  socket.unref();
  return socket;
}

/** Sockets that this end has given up itself: that they close is no news. */
const isGivenUp = new WeakSet<Socket>();

/** Ends it without telling `lost`. */
export function leaveProgram(socket: Socket): void {
  isGivenUp.add(socket);
  socket.destroy();
}

/** Says one thing, and waits until the program has read it. @returns false when nobody listens at the socket */
export async function tellProgram(socketPath: string, text: string): Promise<boolean> {
  const socket = createConnection(socketPath);
  const { promise, resolve } = Promise.withResolvers<boolean>();
  const timer = setTimeout(() => resolve(false), CONNECT_TIMEOUT_MS);
  socket.once('error', () => resolve(false));
  // The program ends the connection when it has read all.
  socket.once('close', () => resolve(true)).resume();
  socket.end(text);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

/** Reads blocks from chunks as they come. */
export class BlockReader {
  readonly #protocol: string;
  #rest = '';
  #isGreeted = false;

  constructor(protocol: string) {
    this.#protocol = protocol;
  }

  /** @param chunk of the program's output  @throws WIREGUARD_UAPI_MALFORMED */
  *read(chunk: Uint8Array): Generator<string> {
    this.#rest += Buffer.from(chunk).toString('latin1');
    let start = 0;
    for (let end = this.#rest.indexOf('\n\n'); end >= 0; end = this.#rest.indexOf('\n\n', start)) {
      const block = this.#rest.slice(start, end);
      start = end + 2;
      if (block.length > MAX_BLOCK_BYTES) throw malformedBlock('a short block', block);
      if (this.#isGreeted) yield block;
      else if (block !== `protocol=${this.#protocol}`)
        throw malformedBlock(`protocol=${this.#protocol}`, block);
      this.#isGreeted = true;
    }
    this.#rest = this.#rest.slice(start);
    if (this.#rest.length > MAX_BLOCK_BYTES) throw malformedBlock('a short block', this.#rest);
  }
}

export function malformedBlock(expected: string, got: string): WireGuardError {
  return new WireGuardError(
    'WIREGUARD_UAPI_MALFORMED',
    `data-plane program: expected ${expected}, got ${JSON.stringify(got.slice(0, 80))}`,
  );
}
