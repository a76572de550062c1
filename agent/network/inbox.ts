/** Messages that arrived on a stream and wait for `receive`; what both drivers have in common. */
interface Waiter {
  resolve(message: Uint8Array | undefined): void;
  reject(reason: unknown): void;
}

export class Inbox {
  readonly #taken: () => void;
  readonly #waiters: Waiter[] = [];
  #messages: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #failure: { readonly error: Error } | undefined;

  /** @param taken called after a message left the queue */
  constructor(taken: () => void) {
    this.#taken = taken;
  }

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  get isEmpty(): boolean {
    return this.#messages.length === 0;
  }

  push(message: Uint8Array): void {
    if (this.#ended || this.#failure) return;
    const waiter = this.#waiters.shift();
    if (waiter) {
      waiter.resolve(message);
      this.#taken();
    } else {
      this.#messages.push(message);
      this.#bytes += message.length;
    }
  }

  /** Nothing more comes; what waits is still delivered. */
  end(): void {
    this.#ended = true;
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(undefined);
  }

  /** Fails every `receive` from now on with `error`; what waits is dropped. Only the first call counts. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = { error };
    this.#messages = [];
    this.#bytes = 0;
    for (const waiter of this.#waiters.splice(0)) waiter.reject(error);
  }

  receive(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (this.#failure) return Promise.reject(this.#failure.error);
    const message = this.#messages.shift();
    if (message) {
      this.#bytes -= message.length;
      this.#taken();
      return Promise.resolve(message);
    }
    if (this.#ended) return Promise.resolve(undefined);
    return this.#wait(signal);
  }

  #wait(signal: AbortSignal | undefined): Promise<Uint8Array | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Uint8Array | undefined>();
    const waiter: Waiter = { resolve, reject };
    this.#waiters.push(waiter);
    if (!signal) return promise;
    const onAbort = () => {
      const index = this.#waiters.indexOf(waiter);
      if (index >= 0) this.#waiters.splice(index, 1);
      reject(signal.reason);
    };
    signal.addEventListener('abort', onAbort, { once: true });
    return promise.finally(() => signal.removeEventListener('abort', onAbort));
  }
}
