/** Two ends of one message stream, without time and without loss: for protocols that are tested alone. */
import { messageTooLarge, streamClosed } from '#agent/network/errors';
import { Inbox } from '#agent/network/inbox';
import type { MessageStream, PeerKey } from '#agent/network/network';

export interface StreamPairOptions {
  /** Keys of the two ends: `streams[0].peer` is the second, as each end sees the other. */
  readonly peers?: readonly [PeerKey, PeerKey];
  /** Bytes. */
  readonly maxMessage?: number;
}

export class PairedStream implements MessageStream {
  readonly peer: PeerKey;
  /** Everything that this end has sent. */
  readonly sent: Uint8Array[] = [];
  readonly #maxMessage: number;
  readonly #inbox = new Inbox(() => undefined);
  #other: PairedStream = this;
  #closed = false;
  #failure: Error | undefined;
  /** Sends after which the stream dies, as if the connection were gone. */
  #dieAfter = Number.POSITIVE_INFINITY;

  constructor(peer: PeerKey, maxMessage: number) {
    this.peer = peer;
    this.#maxMessage = maxMessage;
  }

  join(other: PairedStream): void {
    this.#other = other;
  }

  get isClosed(): boolean {
    return this.#closed;
  }

  /** Why the stream was reset, by this end or the other. */
  get failure(): Error | undefined {
    return this.#failure;
  }

  dieAfter(sends: number): void {
    this.#dieAfter = sends;
  }

  async send(message: Uint8Array): Promise<void> {
    if (message.length > this.#maxMessage)
      throw messageTooLarge('message to send', message.length, this.#maxMessage);
    if (this.#closed || this.#failure !== undefined) throw streamClosed(this.peer);
    if (this.sent.length >= this.#dieAfter) {
      this.abort(new Error('the connection is gone'));
      throw streamClosed(this.peer);
    }
    this.sent.push(message.slice());
    this.#other.#inbox.push(message.slice());
  }

  receive(signal?: AbortSignal): Promise<Uint8Array | undefined> {
    return this.#inbox.receive(signal);
  }

  async close(): Promise<void> {
    if (this.#closed || this.#failure !== undefined) return;
    this.#closed = true;
    this.#other.#inbox.end();
  }

  abort(reason: Error): void {
    this.#fail(reason);
    this.#other.#fail(reason);
  }

  #fail(reason: Error): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    this.#inbox.fail(streamClosed(this.peer, reason));
  }
}

export function streamPair({
  peers,
  maxMessage = 1 << 20,
}: StreamPairOptions = {}): readonly [PairedStream, PairedStream] {
  const [first, second] = peers ?? (['12D3KooWFirst', '12D3KooWSecond'] as [PeerKey, PeerKey]);
  const a = new PairedStream(second, maxMessage);
  const b = new PairedStream(first, maxMessage);
  a.join(b);
  b.join(a);
  return [a, b];
}
