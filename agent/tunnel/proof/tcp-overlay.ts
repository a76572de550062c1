/** The overlay on TCP: frames as everywhere between agents, one port, bounded; datagrams at the same port of UDP. */
import { createServer, connect as netConnect, type Server, type Socket } from 'node:net';
import { encodeFrame, FrameDecoder } from '../../network/framing.ts';
import { whoGivesWay } from '../../network/places.ts';
import { ProofError } from './errors.ts';
import {
  MAX_OVERLAY_MESSAGE,
  type Overlay,
  type OverlayDatagrams,
  type OverlayStream,
} from './overlay.ts';
import { openDatagrams } from './udp-overlay.ts';

interface Limits {
  /** That are answered at a time, and of these, of one address: a member asks once at a time. */
  readonly connections: number;
  readonly perSource: number;
  /** How long each may stay silent. */
  readonly idleMs: number;
  readonly connectMs: number;
}

const LIMITS: Limits = { connections: 64, perSource: 4, idleMs: 15_000, connectMs: 5_000 };

export class TcpOverlay implements Overlay {
  readonly #port: number;
  readonly #limits: Limits;

  /** @param port the same at every node of a mesh, 1 to 65,535 */
  constructor(port: number, limits: Partial<Limits> = {}) {
    this.#port = port;
    this.#limits = { ...LIMITS, ...limits };
  }

  async listen(
    address: string,
    handler: (stream: OverlayStream) => Promise<void>,
  ): Promise<AsyncDisposable> {
    const sockets = new Map<Socket, { readonly source: string; readonly since: number }>();
    let accepted = 0;
    const server = createServer((socket) => {
      const source = socket.remoteAddress ?? '';
      if (!this.#hasPlace(sockets, source)) {
        socket.on('error', () => undefined).destroy();
        return;
      }
      accepted += 1;
      sockets.set(socket, { source, since: accepted });
      socket.once('close', () => sockets.delete(socket));
      const stream = new TcpOverlayStream(socket, this.#limits.idleMs);
      handler(stream).catch(() => socket.destroy());
    });
    // So that whoever is cut off below has its turn to go.
    server.maxConnections = 2 * this.#limits.connections;
    await listening(server, address, this.#port);
    return {
      [Symbol.asyncDispose]: async () => {
        for (const socket of sockets.keys()) socket.destroy();
        await new Promise<void>((resolve) => server.close(() => resolve()));
      },
    };
  }

  /** Where all places are taken, whoever holds several gives one to an address that holds none. */
  #hasPlace(
    sockets: Map<Socket, { readonly source: string; readonly since: number }>,
    source: string,
  ): boolean {
    const { connections, perSource } = this.#limits;
    const ofSource = [...sockets.values()].filter((held) => held.source === source).length;
    if (ofSource >= perSource) return false;
    if (sockets.size < connections) return true;
    const held = [...sockets].map(([socket, place]) => ({ socket, ...place }));
    const victim = whoGivesWay(held);
    const count = held.filter((one) => one.source === victim?.source).length;
    if (victim === undefined || ofSource > 0 || count < 2) return false;
    sockets.delete(victim.socket);
    victim.socket.destroy();
    return true;
  }

  datagrams(
    address: string,
    received: (message: Uint8Array, from: string) => void,
  ): Promise<OverlayDatagrams> {
    return openDatagrams(address, this.#port, received);
  }

  async connect(from: string, to: string): Promise<OverlayStream> {
    const socket = netConnect({ host: to, port: this.#port, localAddress: from });
    const { connectMs, idleMs } = this.#limits;
    socket.setTimeout(connectMs);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', reject);
        socket.once('timeout', () => reject(new Error(`no connection within ${connectMs} ms`)));
      });
    } catch (error) {
      socket.destroy();
      throw new ProofError(
        'PROOF_UNREACHABLE',
        `${to} port ${this.#port}: ${(error as Error).message}`,
        { cause: error },
      );
    }
    return new TcpOverlayStream(socket, idleMs);
  }
}

async function listening(server: Server, host: string, port: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        cause.code === 'EADDRINUSE'
          ? new ProofError('PROOF_PORT_IN_USE', `TCP port ${port} of ${host} is taken`, { cause })
          : cause,
      ),
    );
    server.listen({ host, port }, () => {
      server.removeAllListeners('error');
      resolve();
    });
  });
}

class TcpOverlayStream implements OverlayStream {
  readonly remote: string;
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder(() => MAX_OVERLAY_MESSAGE, tooLarge);
  readonly #messages: Uint8Array[] = [];
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(socket: Socket, idleMs: number) {
    this.#socket = socket;
    this.remote = socket.remoteAddress ?? '';
    socket.setTimeout(idleMs, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    this.#chunks = socket[Symbol.asyncIterator]();
  }

  async send(message: Uint8Array): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#socket.write(encodeFrame(message), (error) =>
        error == null ? resolve() : reject(error),
      );
    });
  }

  async receive(): Promise<Uint8Array | undefined> {
    while (true) {
      const message = this.#messages.shift();
      if (message !== undefined) return message;
      const { done, value } = await this.#chunks.next();
      if (done === true) return undefined;
      this.#push(value);
    }
  }

  close(): void {
    this.#socket.end();
  }

  /** @param chunk attacker-controlled */
  #push(chunk: Uint8Array): void {
    try {
      this.#messages.push(...this.#decoder.push(chunk));
    } catch (error) {
      this.#socket.destroy();
      throw error;
    }
  }
}

function tooLarge(length: number, max: number): ProofError {
  return new ProofError('PROOF_BAD_MESSAGE', `message of ${length} bytes, at most ${max} are read`);
}
