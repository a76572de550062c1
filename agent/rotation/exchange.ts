/** One request and one answer on a stream of its own, each a CBOR list; the answer may be `['refused', code]`. */
import type { Aid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { MessageStream, Network, ProtocolId, ProtocolLimits } from '../network/network.ts';
import type { PeerDirectory } from '../sync/peer-directory.ts';
import { RotationError } from './errors.ts';

export interface ExchangeDeps {
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
}

export interface Exchange {
  readonly protocol: ProtocolId;
  readonly limits: ProtocolLimits;
  /** How long each end waits for the other, in milliseconds. */
  readonly answerMs: number;
}

/** @returns the answer. Throws ROTATION_UNREACHABLE, ROTATION_REFUSED, ROTATION_BAD_MESSAGE */
export async function askPeer(
  { network, directory, clock }: ExchangeDeps,
  { protocol, limits, answerMs }: Exchange,
  aid: Aid,
  request: Uint8Array,
): Promise<readonly CborValue[]> {
  const peer = directory.peerOf(aid);
  if (peer === undefined)
    throw new RotationError('ROTATION_UNREACHABLE', `${aid} is not connected`);
  const stream = await network.open(peer, protocol, limits);
  try {
    await stream.send(request);
    const answer = decodeList(await receive(stream, clock, answerMs, aid));
    await stream.close();
    const [word, code] = answer;
    if (word === 'refused' && typeof code === 'string' && answer.length === 2)
      throw new RotationError('ROTATION_REFUSED', `${aid} refused: ${code.slice(0, 64)}`);
    return answer;
  } catch (error) {
    stream.abort(error as Error);
    throw error;
  }
}

/** Serves `exchange`. @param answer of a request, attacker-controlled: rejecting ends the stream without an answer */
export function serveExchange(
  { network, clock }: ExchangeDeps,
  { protocol, limits, answerMs }: Exchange,
  answer: (request: Uint8Array, stream: MessageStream) => Promise<CborValue>,
): void {
  network.handle(protocol, limits, async (stream) => {
    try {
      const request = await receive(stream, clock, answerMs, stream.peer);
      await stream.send(encodeCbor(await answer(request, stream)));
      await stream.close();
    } catch (error) {
      stream.abort(error as Error);
    }
  });
}

/** The answer for work that has failed. */
export function refusal(error: unknown): CborValue {
  return ['refused', (error as { code?: string }).code ?? 'ROTATION_REFUSED'];
}

/** @param bytes attacker-controlled  @throws ROTATION_BAD_MESSAGE */
export function decodeList(bytes: Uint8Array): readonly CborValue[] {
  const value = reading(() => decodeCbor(bytes));
  if (!Array.isArray(value)) throw new RotationError('ROTATION_BAD_MESSAGE', 'expected a list');
  return value;
}

/** Throws ROTATION_BAD_MESSAGE for whatever `read` throws. */
export function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new RotationError('ROTATION_BAD_MESSAGE', 'the message is not well formed', { cause });
  }
}

async function receive(
  stream: MessageStream,
  clock: Clock,
  withinMs: number,
  who: string,
): Promise<Uint8Array> {
  const bytes = await withDeadline(clock, withinMs, stream.receive(), () => {
    throw new RotationError('ROTATION_UNREACHABLE', `${who}: no answer within ${withinMs} ms`);
  });
  if (bytes === undefined)
    throw new RotationError('ROTATION_UNREACHABLE', `${who} ended the exchange`);
  return bytes;
}
