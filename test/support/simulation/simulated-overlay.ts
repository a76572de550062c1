/** The network inside the tunnels: a message arrives where the simulated devices let packets pass both ways. */

import { Inbox } from '#agent/network/inbox';
import { ProofError } from '#agent/tunnel/proof/errors';
import type { Overlay, OverlayStream } from '#agent/tunnel/proof/overlay';
import type { Power } from './simulated-files.ts';
import type { SimulatedTunnels, Underlay } from './simulated-tunnels.ts';
import type { WorldTime } from './world-time.ts';

/** TCP sends again after this, so often. */
const RESEND_MS = 1_000;
const RESENDS = 20;

interface Server {
  readonly host: string;
  readonly power: Power;
  readonly handler: (stream: OverlayStream) => Promise<void>;
}

/** One end of a stream. */
class End implements OverlayStream {
  readonly remote: string;
  readonly inbox = new Inbox(() => undefined);
  readonly #transmit: (deliver: () => void) => void;
  partner: End | undefined;
  #isClosed = false;

  constructor(remote: string, transmit: (deliver: () => void) => void) {
    this.remote = remote;
    this.#transmit = transmit;
  }

  async send(message: Uint8Array): Promise<void> {
    if (this.#isClosed) throw new ProofError('PROOF_UNREACHABLE', 'the stream is closed');
    const copy = message.slice();
    this.#transmit(() => this.partner?.inbox.push(copy));
  }

  receive(): Promise<Uint8Array | undefined> {
    return this.inbox.receive();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#transmit(() => this.partner?.inbox.end());
  }
}

export class SimulatedOverlay {
  readonly #clock: WorldTime;
  readonly #tunnels: SimulatedTunnels;
  readonly #underlay: Underlay;
  readonly #servers = new Map<string, Server>();

  constructor(clock: WorldTime, tunnels: SimulatedTunnels, underlay: Underlay) {
    this.#clock = clock;
    this.#tunnels = tunnels;
    this.#underlay = underlay;
  }

  driver(host: string, power: Power): Overlay {
    return {
      listen: async (address, handler) => {
        const server: Server = { host, power, handler };
        this.#servers.set(address, server);
        return {
          [Symbol.asyncDispose]: async () => {
            if (this.#servers.get(address) === server) this.#servers.delete(address);
          },
        };
      },
      connect: (from, to) => power.while(this.#connect(host, from, to)),
    };
  }

  async #connect(host: string, from: string, to: string): Promise<OverlayStream> {
    await this.#clock.sleep(2 * this.#underlay.delay());
    const server = this.#servers.get(to);
    if (server?.power.isOn !== true || !this.#passes(host, server.host)) {
      await this.#clock.sleep(RESEND_MS);
      throw new ProofError('PROOF_UNREACHABLE', `${to}: timed out`);
    }
    const near = new End(to, this.#line(host, server.host));
    const far = new End(from, this.#line(server.host, host));
    near.partner = far;
    far.partner = near;
    server.handler(far).then(
      () => far.close(),
      () => far.close(),
    );
    return near;
  }

  #passes(a: string, b: string): boolean {
    return this.#tunnels.canPass(a, b) && this.#tunnels.canPass(b, a);
  }

  /** Delivers in order; a lost message comes again, until the line is given up. */
  #line(from: string, to: string): (deliver: () => void) => void {
    const queue: (() => void)[] = [];
    const attempt = (left: number): void => {
      const [deliver] = queue;
      if (deliver === undefined || left === 0) return;
      const isLost = this.#underlay.loses() || !this.#passes(from, to);
      this.#clock.schedule(isLost ? RESEND_MS : this.#underlay.delay(), () => {
        if (isLost) return attempt(left - 1);
        queue.shift();
        deliver();
        return attempt(RESENDS);
      });
    };
    return (deliver) => {
      queue.push(deliver);
      if (queue.length === 1) attempt(RESENDS);
    };
  }
}
