/** TCP connections that stop somewhere before libp2p knows who is there: at once, in the negotiation, in the Noise handshake. */
import { randomBytes } from 'node:crypto';
import { connect, type Socket } from 'node:net';

/** How far the stranger goes before it falls silent. */
export type Silence = 'connected' | 'negotiating' | 'in-handshake';

/** multistream-select: each line with its length as a varint before it. */
function line(text: string): Buffer {
  return Buffer.concat([Buffer.from([text.length + 1]), Buffer.from(`${text}\n`)]);
}

const said: Readonly<Record<Silence, () => Buffer>> = {
  connected: () => Buffer.alloc(0),
  negotiating: () => line('/multistream/1.0.0'),
  // First message of Noise XX: a length of two bytes and an ephemeral key.
  'in-handshake': () =>
    Buffer.concat([
      line('/multistream/1.0.0'),
      line('/noise'),
      Buffer.from([0, 32]),
      randomBytes(32),
    ]),
};

export class HalfOpen {
  readonly #socket: Socket;
  #isOpen = true;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('error', () => undefined);
    socket.once('close', () => {
      this.#isOpen = false;
    });
    socket.resume();
  }

  /** @param from loopback address from which it comes */
  static async connect(
    to: { readonly host: string; readonly port: number },
    silence: Silence = 'connected',
    from = '127.66.0.1',
  ): Promise<HalfOpen> {
    const socket = connect({ host: to.host, port: to.port, localAddress: from });
    const half = new HalfOpen(socket);
    await new Promise<void>((resolve) => {
      socket.once('connect', resolve);
      socket.once('close', () => resolve());
    });
    if (half.isOpen) socket.write(said[silence]());
    return half;
  }

  /** Whether the agent has not ended it yet. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  close(): void {
    this.#socket.destroy();
  }
}
