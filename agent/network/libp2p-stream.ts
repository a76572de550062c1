/** A libp2p stream as a stream of whole messages, with back-pressure in both directions. */
import type { Clock } from '#src/clock';
import { SerialQueue } from '#src/serial-queue';
import { messageTooLarge, type NetworkError, streamClosed } from './errors.ts';
import { encodeFrame, FrameDecoder } from './framing.ts';
import { Inbox } from './inbox.ts';
import type { Libp2pStream } from './libp2p-node.ts';
import { type MessageStream, maxReceived, type PeerKey, type ProtocolLimits } from './network.ts';

/** Bytes of whole messages that wait for `receive` before the peer is told to pause. */
const HIGH_WATER = 262_144;

/** What a peer is to this node while its stream is open. */
export interface ReceiveBounds {
  isStranger(peer: PeerKey): boolean;
  /** Throws NETWORK_TOO_MANY_BYTES when the peer has sent more than it may. */
  received(peer: PeerKey, bytes: number): void;
}

export class Libp2pMessageStream implements MessageStream {
  readonly peer: PeerKey;
  readonly #stream: Libp2pStream;
  readonly #clock: Clock;
  readonly #standing: ReceiveBounds;
  readonly #maxMessage: number;
  readonly #decoder: FrameDecoder;
  readonly #inbox: Inbox;
  readonly #sending = new SerialQueue();
  readonly #finished = Promise.withResolvers<void>();
  #lastActivity: number;
  #closing: Promise<void> | undefined;
  #failure: NetworkError | undefined;
  /** The peer closed its side in order, as opposed to a connection that went away. */
  #remoteClosed: boolean;
  /** Nobody will read any more: further bytes are dropped. */
  #unread = false;

  constructor(
    stream: Libp2pStream,
    peer: PeerKey,
    limits: ProtocolLimits,
    clock: Clock,
    standing: ReceiveBounds,
  ) {
    this.#standing = standing;
    this.#stream = stream;
    this.peer = peer;
    this.#clock = clock;
    this.#maxMessage = limits.maxMessage;
    this.#decoder = new FrameDecoder(() => maxReceived(limits, standing.isStranger(peer)));
    this.#inbox = new Inbox(() => this.#resume());
    this.#lastActivity = clock.monotonic();
    this.#remoteClosed = stream.status === 'open' && stream.remoteWriteStatus === 'closed';
    this.#attach();
  }

  /** Resolves when both sides are closed, or the stream was reset. */
  get finished(): Promise<void> {
    return this.#finished.promise;
  }

  /** When bytes last moved, monotonic, that somebody wanted. */
  get lastActivity(): number {
    return this.#lastActivity;
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > this.#maxMessage) {
      throw messageTooLarge('message to send', message.length, this.#maxMessage);
    }
    if (this.#closing) throw streamClosed(this.peer);
    const frame = encodeFrame(message);
    await this.#sending.run(() => this.#write(frame));
  }

  receive(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#inbox.receive(signal);
  }

  close(): Promise<void> {
    this.#closing ??= this.#sending.run(async () => {
      // A stream that ended by itself in the meantime is closed as well.
      if (!this.#failure) await this.#stream.close().catch(() => undefined);
    });
    return this.#closing;
  }

  abort(reason: Error): void {
    this.#fail(reason);
    this.#stream.abort(reason);
  }

  /** Closes the own side and drops what still comes: for a stream whose reader has gone. */
  async finish(): Promise<void> {
    this.#unread = true;
    this.#resume();
    await this.close();
  }

  #attach(): void {
    const stream = this.#stream;
    stream.addEventListener('message', ({ data }) => this.#onData(data));
    stream.addEventListener('remoteCloseWrite', () => {
      this.#remoteClosed = true;
      // One frame may carry data and the end, and the end is told first.
      queueMicrotask(() => this.#maybeEnd());
    });
    stream.addEventListener('close', ({ error }) => this.#onClose(error));
    this.#maybeEnd();
    if (stream.status !== 'open' && stream.status !== 'closing') this.#onClose(undefined);
  }

  #onData(data: Uint8Array | Iterable<Uint8Array>): void {
    if (this.#unread) return;
    this.#lastActivity = this.#clock.monotonic();
    try {
      for (const chunk of data instanceof Uint8Array ? [data] : data) {
        this.#standing.received(this.peer, chunk.length);
        for (const message of this.#decoder.push(chunk)) this.#inbox.push(message);
      }
    } catch (error) {
      this.#inbox.fail(error as NetworkError);
      this.abort(error as NetworkError);
      return;
    }
    this.#maybeEnd();
    if (this.#inbox.bytes >= HIGH_WATER && this.#stream.readStatus === 'readable') {
      this.#stream.pause();
    }
  }

  #resume(): void {
    if (this.#stream.readStatus !== 'paused') return;
    if (!this.#unread && this.#inbox.bytes >= HIGH_WATER / 2) return;
    try {
      this.#stream.resume();
    } catch {
      // The window update has nowhere to go when the connection ended; what was buffered is delivered.
    }
  }

  /**
   * Not the stream's own `end`: that comes once, and may have come before the bytes that the negotiation of the
   * protocol read ahead were put back.
   */
  #maybeEnd(): void {
    if (!this.#remoteClosed || this.#failure || this.#stream.readBufferLength > 0) return;
    if (this.#decoder.atBoundary) this.#inbox.end();
    else this.#fail(new Error('the peer closed inside a message'));
  }

  #onClose(error: Error | undefined): void {
    if (error || !this.#remoteClosed) this.#fail(error ?? new Error('the connection ended'));
    this.#finished.resolve();
  }

  #fail(cause: Error): void {
    this.#failure ??= streamClosed(this.peer, cause);
    this.#inbox.fail(this.#failure);
  }

  async #write(frame: Uint8Array): Promise<void> {
    const stream = this.#stream;
    this.#lastActivity = this.#clock.monotonic();
    try {
      stream.send(frame);
    } catch (cause) {
      throw this.#failure ?? streamClosed(this.peer, cause);
    }
    while (stream.writeStatus === 'writable') {
      if (stream.writeBufferLength === 0 && !stream.writableNeedsDrain) return;
      await this.#writeEvent();
      this.#lastActivity = this.#clock.monotonic();
    }
    throw this.#failure ?? streamClosed(this.peer);
  }

  /** Not `stream.onDrain()`: its promise is made once and stays resolved after the first drain. */
  #writeEvent(): Promise<void> {
    const events = ['drain', 'idle', 'close'] as const;
    const { promise, resolve } = Promise.withResolvers<void>();
    const listener = () => resolve();
    for (const event of events) this.#stream.addEventListener(event, listener);
    return promise.finally(() => {
      for (const event of events) this.#stream.removeEventListener(event, listener);
    });
  }
}
