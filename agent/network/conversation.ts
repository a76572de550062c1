/**
 * One stream between two agents from its opening to its end: what all protocols have in common, whatever they say.
 *
 * Each message is waited for so long, and the whole takes no longer than that; whoever fails, here or in what is done between two
 * messages, ends the stream at once, so that the other end does not wait for it; and what has come to its end is closed.
 */
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { ErrorDetails } from '#src/errors';
import type { MessageStream, Network, PeerKey, ProtocolId, ProtocolLimits } from './network.ts';

/**
 * `unreachable`: no connection; `silent`: no message in time; `ended`: no message any more; `refused`: an answer that says so;
 * `malformed`: a message that is none.
 */
export type FailureKind = 'unreachable' | 'silent' | 'ended' | 'refused' | 'malformed';

/** Makes the error of whoever speaks the protocol. */
export type Failure = (kind: FailureKind, message: string, details?: ErrorDetails) => Error;

/** @param codes one for each kind  @param make the error with such a code */
export function failuresAs<Code extends string>(
  codes: Readonly<Record<FailureKind, Code>>,
  make: (code: Code, message: string, details?: ErrorDetails) => Error,
): Failure {
  return (kind, message, details) => make(codes[kind], message, details);
}

/** How a protocol is spoken. */
export interface Manners {
  readonly protocol: ProtocolId;
  readonly limits: ProtocolLimits;
  /** Milliseconds for each message of the other end. */
  readonly messageMs: number;
  /** Milliseconds for the whole. */
  readonly wholeMs: number;
  readonly failure: Failure;
}

export interface ConversationDeps {
  readonly network: Pick<Network, 'open' | 'handle'>;
  readonly clock: Clock;
  /** Ends all at once. */
  readonly signal?: AbortSignal;
}

/** What messages come from: a stream of the network, or one through a tunnel. */
type Messages = Pick<MessageStream, 'send' | 'receive'>;

export class Conversation<Stream extends Messages = MessageStream> {
  readonly stream: Stream;
  readonly #clock: Clock;
  readonly #manners: Pick<Manners, 'messageMs' | 'failure'>;
  readonly #who: string;

  /** @param who the other end, for messages of errors */
  constructor(
    stream: Stream,
    clock: Clock,
    manners: Pick<Manners, 'messageMs' | 'failure'>,
    who: string,
  ) {
    this.stream = stream;
    this.#clock = clock;
    this.#manners = manners;
    this.#who = who;
  }

  send(message: Uint8Array): Promise<void> {
    return this.stream.send(message);
  }

  /** Attacker-controlled; undefined after the other end has closed. @throws `silent`, and what the network throws */
  next(withinMs: number = this.#manners.messageMs): Promise<Uint8Array | undefined> {
    return withDeadline(this.#clock, withinMs, this.stream.receive(), () => {
      throw this.#manners.failure('silent', `${this.#who}: no answer within ${withinMs} ms`);
    });
  }

  /** As {@link next}. @throws `ended` too */
  async receive(withinMs?: number): Promise<Uint8Array> {
    const bytes = await this.next(withinMs);
    if (bytes !== undefined) return bytes;
    throw this.#manners.failure('ended', `${this.#who} ended the exchange early`);
  }
}

/**
 * Holds `talk` with `peer` on a stream of its own. @param who names the other end in errors; @default its peer key
 * @throws what `talk` throws, `silent`, and what the network throws
 */
export async function converse<T>(
  deps: ConversationDeps,
  manners: Manners,
  peer: PeerKey,
  talk: (conversation: Conversation) => Promise<T>,
  who: string = peer,
): Promise<T> {
  deps.signal?.throwIfAborted();
  const stream = await deps.network.open(peer, manners.protocol, manners.limits);
  return hold(stream, deps, manners, talk, who);
}

/** Answers whoever opens a stream. @param talk rejecting ends the stream; who wants to tell of that catches around {@link hold} */
export function serveConversations(
  deps: ConversationDeps,
  manners: Manners,
  talk: (conversation: Conversation) => Promise<void>,
): void {
  deps.network.handle(manners.protocol, manners.limits, (stream) =>
    // The reset is the answer.
    hold(stream, deps, manners, talk).catch(() => undefined),
  );
}

/** Holds `talk` on a stream that is open: it is closed afterwards, or reset. @throws as {@link converse} */
export async function hold<T>(
  stream: MessageStream,
  { clock, signal }: Pick<ConversationDeps, 'clock' | 'signal'>,
  manners: Pick<Manners, 'messageMs' | 'wholeMs' | 'failure'>,
  talk: (conversation: Conversation) => Promise<T>,
  who: string = stream.peer,
): Promise<T> {
  const { wholeMs, failure } = manners;
  const onAbort = () => stream.abort(errorOf(signal?.reason));
  signal?.addEventListener('abort', onAbort);
  try {
    signal?.throwIfAborted();
    const talking = talk(new Conversation(stream, clock, manners, who));
    const result = await withDeadline(clock, wholeMs, talking, () => {
      throw failure('silent', `${who}: no end of the exchange within ${wholeMs} ms`);
    });
    await stream.close();
    return result;
  } catch (error) {
    // What the stream says of its reset is the consequence.
    const reason = signal?.aborted === true ? signal.reason : error;
    stream.abort(errorOf(reason));
    throw reason;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function errorOf(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}
