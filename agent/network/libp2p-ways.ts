/** One way to a peer at a time, as `dial-race.ts` wants it: libp2p's own queue tries the addresses of a peer one after the other. */
import type { Multiaddr } from '@multiformats/multiaddr';
import type { Libp2pConnection } from './libp2p-node.ts';

/** Attempts at one time; what is more waits. */
const MAX_ATTEMPTS = 256;
/** Milliseconds for one, with its handshakes. */
const ATTEMPT_MS = 10_000;

interface WaysComponents {
  readonly connectionManager: {
    openConnection(
      address: Multiaddr,
      options: { signal: AbortSignal; force: boolean },
    ): Promise<unknown>;
  };
  readonly transportManager: {
    dial(address: Multiaddr, options: { signal: AbortSignal }): Promise<unknown>;
  };
}

export class DialWays {
  readonly #components: WaysComponents;
  readonly #waiting: (() => void)[] = [];
  #free = MAX_ATTEMPTS;

  constructor(components: WaysComponents) {
    this.#components = components;
  }

  /** @throws what the transport throws, and the reason of `signal` */
  async take(address: Multiaddr, signal: AbortSignal): Promise<Libp2pConnection> {
    await this.#turn();
    // What is established must not end with the signal: the transport listens to it for longer than it says.
    const attempt = new AbortController();
    const onAbort = () => attempt.abort(signal.reason);
    signal.addEventListener('abort', onAbort);
    const timer = setTimeout(
      () => attempt.abort(new Error(`no connection within ${ATTEMPT_MS} ms`)),
      ATTEMPT_MS,
    );
    try {
      signal.throwIfAborted();
      const options = { signal: attempt.signal };
      // Names that stand for several addresses are looked up by the queue alone.
      const connection = address.toString().startsWith('/dnsaddr/')
        ? this.#components.connectionManager.openConnection(address, { ...options, force: true })
        : this.#components.transportManager.dial(address, options);
      return (await connection) as Libp2pConnection;
    } finally {
      signal.removeEventListener('abort', onAbort);
      clearTimeout(timer);
      const next = this.#waiting.shift();
      if (next === undefined) this.#free += 1;
      else next();
    }
  }

  async #turn(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }
}
