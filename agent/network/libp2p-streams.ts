/** The streams of one node: opening, serving, counting them per peer, and resetting those that went silent. */

import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import { mistaken, ticks } from '#src/ticks';
import { duplicateHandler, NetworkError } from './errors.ts';
import type { Libp2pConnection, Libp2pNode, Libp2pStream } from './libp2p-node.ts';
import { Libp2pMessageStream } from './libp2p-stream.ts';
import {
  listOf,
  type MessageStream,
  type NetworkDrop,
  type PeerKey,
  type ProtocolId,
  type ProtocolLimits,
  type Protocols,
} from './network.ts';

/** Milliseconds in which the peer agrees on the protocol of a new stream. */
const NEGOTIATION_MS = 10_000;
/** Outbound streams of one protocol on one connection. */
const MAX_OUTBOUND = 128;

/** Streams of all protocols that a stranger may open: enough to join, to have a node approved and to ask again. */
const STRANGER_STREAMS = { burst: 64, perSecond: 2 };
/** Bytes that a stranger may send, on all its streams together. */
const STRANGER_BYTES = { burst: 1 << 20, perSecond: 64 << 10 };

export type StreamHandler = (stream: MessageStream, protocol: ProtocolId) => Promise<void>;

export class Libp2pStreams {
  readonly #clock: Clock;
  readonly #idleMs: number;
  readonly #dropped: (what: NetworkDrop, peer: PeerKey) => void;
  readonly #open = new Set<Libp2pMessageStream>();
  /** Inbound streams by protocol and peer; libp2p's own count is per connection. */
  readonly #inbound = new Map<string, number>();
  readonly #protocols = new Set<ProtocolId>();
  readonly #closed = new AbortController();

  readonly #isStranger: (peer: PeerKey) => boolean;
  readonly #opened: Allowance<PeerKey>;
  readonly #sent: Allowance<PeerKey>;

  /** @param idleMs milliseconds without a byte after which a stream is reset */
  constructor(
    clock: Clock,
    idleMs: number,
    dropped: (what: NetworkDrop, peer: PeerKey) => void,
    isStranger: (peer: PeerKey) => boolean,
  ) {
    this.#isStranger = isStranger;
    this.#opened = new Allowance(clock, STRANGER_STREAMS);
    this.#sent = new Allowance(clock, STRANGER_BYTES);
    this.#dropped = dropped;
    this.#clock = clock;
    this.#idleMs = idleMs;
    const pauseMs = () => idleMs / 4;
    void ticks({ clock, signal: this.#closed.signal, pauseMs, failed: mistaken }, () =>
      this.#sweep(),
    );
  }

  async open(
    connection: Libp2pConnection,
    peer: PeerKey,
    protocols: Protocols,
    limits: ProtocolLimits,
  ): Promise<MessageStream> {
    const signal = AbortSignal.any([this.#closed.signal, AbortSignal.timeout(NEGOTIATION_MS)]);
    try {
      const options = { signal, maxOutboundStreams: MAX_OUTBOUND, runOnLimitedConnection: true };
      return this.#wrap(await connection.newStream([...listOf(protocols)], options), peer, limits);
    } catch (cause) {
      throw openError(peer, listOf(protocols)[0], cause);
    }
  }

  handle(node: Libp2pNode, named: Protocols, limits: ProtocolLimits, handler: StreamHandler): void {
    const protocols = listOf(named);
    const taken = protocols.find((protocol) => this.#protocols.has(protocol));
    if (taken !== undefined) throw duplicateHandler(taken);
    for (const protocol of protocols) this.#protocols.add(protocol);
    const serve = (stream: Libp2pStream, connection: Libp2pConnection): void => {
      const peer = connection.remotePeer.toString() as PeerKey;
      this.#accept(stream, peer, protocols[0], limits, handler);
    };
    // One more than may be: the one too many is counted here, over all connections of the peer, and told.
    const options = {
      maxInboundStreams: limits.maxStreams + 1,
      maxOutboundStreams: MAX_OUTBOUND,
      runOnLimitedConnection: true,
    };
    // Registered at once; what is awaited is a note in the peer store, of no use when it fails.
    node.handle([...protocols], serve, options).catch(() => undefined);
  }

  /** Resets the streams of `peer`. */
  abort(peer: PeerKey, reason: Error): void {
    for (const stream of this.#open) if (stream.peer === peer) stream.abort(reason);
  }

  close(reason: Error): void {
    this.#closed.abort(reason);
    for (const stream of this.#open) stream.abort(reason);
  }

  #accept(
    stream: Libp2pStream,
    peer: PeerKey,
    protocol: ProtocolId,
    limits: ProtocolLimits,
    handler: StreamHandler,
  ): void {
    if (this.#isStranger(peer) && !this.#opened.take(peer)) {
      this.#dropped('stream', peer);
      stream.abort(new Error('more streams than a stranger may open'));
      return;
    }
    const slot = `${protocol} ${peer}`;
    const count = this.#inbound.get(slot) ?? 0;
    if (count >= limits.maxStreams) {
      this.#dropped('stream', peer);
      stream.abort(new Error(`more than ${limits.maxStreams} streams of ${protocol}`));
      return;
    }
    this.#inbound.set(slot, count + 1);
    const wrapped = this.#wrap(stream, peer, limits);
    void wrapped.finished.then(() => this.#release(slot));
    serve(wrapped, (accepted) => handler(accepted, stream.protocol as ProtocolId));
  }

  #release(slot: string): void {
    const count = this.#inbound.get(slot) ?? 0;
    if (count > 1) this.#inbound.set(slot, count - 1);
    else this.#inbound.delete(slot);
  }

  #wrap(stream: Libp2pStream, peer: PeerKey, limits: ProtocolLimits): Libp2pMessageStream {
    const wrapped = new Libp2pMessageStream(stream, peer, limits, this.#clock, {
      isStranger: this.#isStranger,
      received: (from, bytes) => this.#received(from, bytes),
    });
    this.#open.add(wrapped);
    void wrapped.finished.then(() => this.#open.delete(wrapped));
    if (this.#closed.signal.aborted) wrapped.abort(this.#closed.signal.reason);
    return wrapped;
  }

  /** Whatever a stranger says is read and judged: how much of it there is, is bounded before. */
  #received(peer: PeerKey, bytes: number): void {
    if (!this.#isStranger(peer)) return;
    if (this.#sent.take(peer, bytes)) return;
    this.#dropped('stream', peer);
    throw new NetworkError(
      'NETWORK_TOO_MANY_BYTES',
      `${peer}: more than ${STRANGER_BYTES.burst} bytes at once, or ${STRANGER_BYTES.perSecond} a second`,
    );
  }

  #sweep(): void {
    const now = this.#clock.monotonic();
    for (const stream of this.#open) {
      const idleMs = now - stream.lastActivity;
      if (idleMs < this.#idleMs) continue;
      stream.abort(
        new NetworkError('NETWORK_TIMEOUT', `no byte for ${idleMs} ms, at most ${this.#idleMs}`),
      );
    }
  }
}

function serve(
  stream: Libp2pMessageStream,
  handler: (stream: MessageStream) => Promise<void>,
): void {
  // In a microtask of its own, so that a handler that throws is as good as one that rejects.
  void Promise.resolve()
    .then(() => handler(stream))
    .then(
      () => stream.finish(),
      (error: unknown) => stream.abort(error instanceof Error ? error : new Error(String(error))),
    );
}

function openError(peer: PeerKey, protocol: ProtocolId, cause: unknown): NetworkError {
  const name = cause instanceof Error ? cause.name : '';
  const what = `${protocol} with ${peer}`;
  switch (name) {
    case 'UnsupportedProtocolError':
      return new NetworkError('NETWORK_PROTOCOL_UNSUPPORTED', `${what}: not offered`, { cause });
    case 'TooManyOutboundProtocolStreamsError':
      return new NetworkError('NETWORK_TOO_MANY_STREAMS', `${what}: more than ${MAX_OUTBOUND}`, {
        cause,
      });
    case 'TimeoutError':
      return new NetworkError('NETWORK_TIMEOUT', `${what}: no answer in ${NEGOTIATION_MS} ms`, {
        cause,
      });
    default:
      return new NetworkError('NETWORK_UNREACHABLE', `${what}: the connection ended`, { cause });
  }
}
