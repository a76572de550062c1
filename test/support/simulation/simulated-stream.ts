/** A message stream between two networks of a simulated world; the counterpart of `agent/network/libp2p-stream.ts`. */
import { messageTooLarge, NetworkError, streamClosed } from '#agent/network/errors';
import { Inbox } from '#agent/network/inbox';
import {
  type MessageStream,
  maxReceived,
  type PeerKey,
  type ProtocolLimits,
} from '#agent/network/network';
import { SerialQueue } from '#src/serial-queue';
import type { SimulatedClock } from './simulated-clock.ts';

/** Bytes that may be under way and unread before `send` waits. */
const WINDOW = 262_144;

/** What lies between the two ends. */
export interface Wire {
  readonly clock: SimulatedClock;
  readonly idleMs: number;
  /** Milliseconds that the next message takes. */
  delay(): number;
  /** Whether the next message is lost. */
  loses(): boolean;
}

interface SimulatedEnd {
  /** The other end. */
  readonly peer: PeerKey;
  readonly limits: ProtocolLimits;
  readonly isStranger?: (peer: PeerKey) => boolean;
}

export class SimulatedStream implements MessageStream {
  readonly peer: PeerKey;
  readonly #wire: Wire;
  readonly #maxMessage: number;
  readonly #maxReceived: () => number;
  readonly #inbox = new Inbox(() => this.#partner.#onTaken());
  readonly #sending = new SerialQueue();
  readonly #finished = Promise.withResolvers<void>();
  #partner: SimulatedStream = this;
  #inFlight = 0;
  #lastArrival = 0;
  #lastActivity: number;
  #cancelIdle: () => void;
  #writable: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  #closed = false;
  #remoteClosed = false;
  #failure: NetworkError | undefined;
  #unread = false;

  private constructor({ peer, limits, isStranger = () => false }: SimulatedEnd, wire: Wire) {
    this.#maxReceived = () => maxReceived(limits, isStranger(peer));
    this.peer = peer;
    this.#wire = wire;
    this.#maxMessage = limits.maxMessage;
    this.#lastActivity = wire.clock.now();
    this.#cancelIdle = wire.clock.schedule(wire.idleMs, () => this.#onIdle());
  }

  /** The two ends; each is given the key of the other end and its own side's limits. */
  static pair(
    wire: Wire,
    a: SimulatedEnd,
    b: SimulatedEnd,
  ): readonly [SimulatedStream, SimulatedStream] {
    const first = new SimulatedStream(a, wire);
    const second = new SimulatedStream(b, wire);
    first.#partner = second;
    second.#partner = first;
    return [first, second];
  }

  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > this.#maxMessage) {
      throw messageTooLarge('message to send', message.length, this.#maxMessage);
    }
    if (this.#closing) throw streamClosed(this.peer);
    const copy = message.slice();
    await this.#sending.run(() => this.#write(copy));
  }

  receive(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#inbox.receive(signal);
  }

  close(): Promise<void> {
    this.#closing ??= this.#sending.run(async () => {
      if (this.#failure) return;
      this.#closed = true;
      this.#inOrder(() => this.#partner.#onRemoteClose());
      this.#settle();
    });
    return this.#closing;
  }

  abort(reason: Error): void {
    if (this.#failure) return;
    this.fail(reason);
    this.#wire.clock.schedule(this.#wire.delay(), () => this.#partner.fail(new Error('reset')));
  }

  /** As the loss of the connection does it: this end only, at once. */
  fail(cause: Error): void {
    if (this.#failure || (this.#closed && this.#remoteClosed)) return;
    this.#failure = streamClosed(this.peer, cause);
    this.#inbox.fail(this.#failure);
    this.#writable?.();
    this.#cancelIdle();
    this.#finished.resolve();
  }

  /** Closes the own side and drops what still comes: for a stream whose reader has gone. */
  async finish(): Promise<void> {
    this.#unread = true;
    await this.close();
  }

  async #write(message: Uint8Array): Promise<void> {
    if (this.#failure) throw this.#failure;
    this.#lastActivity = this.#wire.clock.now();
    if (this.#wire.loses()) {
      this.abort(new Error('a message was lost'));
    } else {
      this.#inFlight += message.length;
      this.#inOrder(() => {
        this.#inFlight -= message.length;
        this.#partner.#onMessage(message);
      });
    }
    while (!this.#failure && this.#inFlight + this.#partner.#inbox.bytes > WINDOW) {
      await new Promise<void>((resolve) => {
        this.#writable = resolve;
      });
    }
    if (this.#failure) throw this.#failure;
  }

  /** Calls `deliver` after a delay, never before what was sent earlier. */
  #inOrder(deliver: () => void): void {
    const { clock } = this.#wire;
    this.#lastArrival = Math.max(clock.now() + this.#wire.delay(), this.#lastArrival);
    clock.schedule(this.#lastArrival - clock.now(), () => {
      if (!this.#failure) deliver();
    });
  }

  #onMessage(message: Uint8Array): void {
    if (this.#unread || this.#failure) {
      this.#partner.#onTaken();
      return;
    }
    this.#lastActivity = this.#wire.clock.now();
    const max = this.#maxReceived();
    if (message.length <= max) {
      this.#inbox.push(message);
      return;
    }
    const error = messageTooLarge('received message', message.length, max);
    this.#inbox.fail(error);
    this.abort(error);
  }

  #onRemoteClose(): void {
    if (this.#failure) return;
    this.#remoteClosed = true;
    this.#inbox.end();
    this.#settle();
  }

  /** The other end read something. */
  #onTaken(): void {
    this.#lastActivity = this.#wire.clock.now();
    this.#writable?.();
  }

  #settle(): void {
    if (!this.#closed || !this.#remoteClosed) return;
    this.#cancelIdle();
    this.#finished.resolve();
  }

  #onIdle(): void {
    const { clock, idleMs } = this.#wire;
    const silentMs = clock.now() - this.#lastActivity;
    if (silentMs < idleMs) {
      this.#cancelIdle = clock.schedule(idleMs - silentMs, () => this.#onIdle());
      return;
    }
    this.abort(
      new NetworkError('NETWORK_TIMEOUT', `no byte for ${silentMs} ms, at most ${idleMs}`),
    );
  }
}
