/** One request and one answer on a stream of its own, each a CBOR list; the answer may be `['refused', code]`. */
import type { Aid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { ErrorDetails } from '#src/errors';
import type { MessageStream, Network, PeerKey, ProtocolId, ProtocolLimits } from './network.ts';

export interface ExchangeDeps {
  readonly network: Network;
  /** Who is bound to which connection. */
  readonly directory: {
    peerOf(aid: Aid): PeerKey | undefined;
    aidOf(peer: PeerKey): Aid | undefined;
  };
  readonly clock: Clock;
}

export interface Exchange {
  readonly protocol: ProtocolId;
  readonly limits: ProtocolLimits;
  /** How long each end waits for the other, in milliseconds. */
  readonly answerMs: number;
  /** The error of whoever speaks the protocol. */
  readonly failure: ExchangeFailure;
}

/** `unreachable`: no connection, or no answer; `refused`: an answer that says so; `malformed`: neither. */
export type ExchangeFailure = (
  kind: 'unreachable' | 'refused' | 'malformed',
  message: string,
  details?: ErrorDetails,
) => Error;

/** @returns the answer  @throws what `failure` makes, and what the network throws */
export async function askPeer(
  { network, directory, clock }: ExchangeDeps,
  exchange: Exchange,
  aid: Aid,
  request: Uint8Array,
): Promise<readonly CborValue[]> {
  const { protocol, limits, failure } = exchange;
  const peer = directory.peerOf(aid);
  if (peer === undefined) throw failure('unreachable', `${aid} is not connected`);
  const stream = await network.open(peer, protocol, limits);
  try {
    await stream.send(request);
    const answer = decodeList(await receive(stream, clock, exchange, aid), failure);
    await stream.close();
    const [word, code] = answer;
    if (word === 'refused' && typeof code === 'string' && answer.length === 2)
      throw failure('refused', `${aid} refused: ${code.slice(0, 64)}`);
    return answer;
  } catch (error) {
    stream.abort(error as Error);
    throw error;
  }
}

/** Serves `exchange`. @param answer of a request, attacker-controlled: rejecting ends the stream without an answer */
export function serveExchange(
  { network, clock }: Pick<ExchangeDeps, 'network' | 'clock'>,
  exchange: Exchange,
  answer: (request: Uint8Array, stream: MessageStream) => Promise<CborValue>,
): void {
  network.handle(exchange.protocol, exchange.limits, async (stream) => {
    try {
      const request = await receive(stream, clock, exchange, stream.peer);
      await stream.send(encodeCbor(await answer(request, stream)));
      await stream.close();
    } catch (error) {
      stream.abort(error as Error);
    }
  });
}

/** The answer for work that has failed. @param otherwise the code of what has none */
export function refusal(error: unknown, otherwise: string): CborValue {
  return ['refused', (error as { code?: string }).code ?? otherwise];
}

/** @param bytes attacker-controlled  @throws `malformed` */
export function decodeList(bytes: Uint8Array, failure: ExchangeFailure): readonly CborValue[] {
  const value = reading(() => decodeCbor(bytes), failure);
  if (!Array.isArray(value)) throw failure('malformed', 'expected a list');
  return value;
}

/** Throws `malformed` for whatever `read` throws. */
export function reading<T>(read: () => T, failure: ExchangeFailure): T {
  try {
    return read();
  } catch (cause) {
    throw failure('malformed', 'the message is not well formed', { cause });
  }
}

async function receive(
  stream: MessageStream,
  clock: Clock,
  { answerMs, failure }: Exchange,
  who: string,
): Promise<Uint8Array> {
  const bytes = await withDeadline(clock, answerMs, stream.receive(), () => {
    throw failure('unreachable', `${who}: no answer within ${answerMs} ms`);
  });
  if (bytes === undefined) throw failure('unreachable', `${who} ended the exchange`);
  return bytes;
}
