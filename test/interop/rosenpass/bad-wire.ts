/** A UDP path that loses, doubles and reorders datagrams, each by a seeded chance. */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { SeededRng } from '../../support/doubles/seeded-rng.ts';

const LOOPBACK = '127.0.0.1';
/** A datagram of each hundred, and milliseconds. */
const [LOST, DOUBLED, DELAYED, DELAY_MS] = [20, 10, 20, 400];

export class BadWire implements AsyncDisposable {
  readonly #near: Socket;
  readonly #far: Socket;
  readonly #rng: SeededRng;
  readonly #timers = new Set<NodeJS.Timeout>();
  #client: number | undefined;
  passed = 0;
  lost = 0;

  private constructor(near: Socket, far: Socket, target: number, seed: string) {
    this.#near = near;
    this.#far = far;
    this.#rng = new SeededRng(seed);
    near.on('message', (datagram, { port }) => {
      this.#client = port;
      this.#pass(far, datagram, target);
    });
    far.on('message', (datagram) => {
      if (this.#client !== undefined) this.#pass(near, datagram, this.#client);
    });
    for (const socket of [near, far]) socket.on('error', () => undefined);
  }

  /** @param target port that datagrams come out at */
  static async to(target: number, seed: string): Promise<BadWire> {
    const [near, far] = [createSocket('udp4'), createSocket('udp4')];
    for (const socket of [near, far]) {
      socket.bind(0, LOOPBACK);
      await once(socket, 'listening');
    }
    return new BadWire(near, far, target, seed);
  }

  /** Where datagrams go in. */
  get port(): number {
    return this.#near.address().port;
  }

  #pass(socket: Socket, datagram: Buffer, port: number): void {
    const chance = () => this.#rng.int(100);
    if (chance() < LOST) {
      this.lost++;
      return;
    }
    const copies = chance() < DOUBLED ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const delay = chance() < DELAYED ? this.#rng.int(DELAY_MS) : 0;
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        this.passed++;
        socket.send(datagram, port, LOOPBACK, () => undefined);
      }, delay);
      this.#timers.add(timer);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const timer of this.#timers) clearTimeout(timer);
    for (const socket of [this.#near, this.#far]) {
      const end = once(socket, 'close');
      socket.close();
      await end;
    }
  }
}

/** A port that nobody has at the moment. */
export async function freePort(): Promise<number> {
  const socket = createSocket('udp4');
  socket.bind(0, LOOPBACK);
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  await once(socket, 'close');
  return port;
}
