/**
 * What the two ends of a tunnel ask of each other beside the change of keys itself: one request and one answer per stream.
 *
 *   renew    make a fresh agreement in place of the one named: only the end with the lower AID begins one
 *   written  say whether the preshared key of the agreement named is on the device
 *   rekey    the same, and then force a handshake with it: the end that starts handshakes is asked
 *   epoch    the asking end has moved to this epoch although the clocks of the two differ; follow
 */
import type { Aid, Said } from '#kel/identifiers';
import { parseSaid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { Clock } from '#src/clock';
import { withDeadline } from '#src/deadline';
import type { MessageStream, Network, ProtocolId, ProtocolLimits } from '../network/network.ts';
import type { PeerDirectory } from '../sync/peer-directory.ts';
import { RotationError } from './errors.ts';

const requestProtocol = '/kelmesh/1/rotate' as ProtocolId;
const requestLimits: ProtocolLimits = { maxMessage: 512, maxStreams: 2 };

/** A fresh agreement with a slow token, or a handshake, may lie between request and answer. */
const ANSWER_MS = 40_000;

const KINDS = ['renew', 'written', 'rekey', 'epoch'] as const;
const MAX_EPOCH = 0xffff_ffff;

export interface PairRequest {
  readonly kind: (typeof KINDS)[number];
  /** SAIDs of the `tun` records, named from the side of the one who asks. */
  readonly own: Said;
  readonly peer: Said;
  /** Agreement id, 32 bytes. */
  readonly th: Uint8Array;
  /** Of `epoch`; 0 otherwise. */
  readonly epoch: number;
}

/** @throws what the answer says no with */
export type AnswerRequest = (from: Aid, request: PairRequest) => Promise<void>;

export interface PairRequestsDeps {
  readonly network: Network;
  readonly directory: PeerDirectory;
  readonly clock: Clock;
  readonly answer: AnswerRequest;
}

export function encodeRequest({ kind, own, peer, th, epoch }: PairRequest): Uint8Array {
  return encodeCbor([kind, own, peer, th, epoch]);
}

/** @param bytes attacker-controlled  @throws ROTATION_BAD_MESSAGE */
export function decodeRequest(bytes: Uint8Array): PairRequest {
  const [kind, own, peer, th, epoch, ...more] = decodeList(bytes);
  if (
    !KINDS.includes(kind as PairRequest['kind']) ||
    typeof own !== 'string' ||
    typeof peer !== 'string' ||
    !(th instanceof Uint8Array) ||
    th.length !== 32 ||
    typeof epoch !== 'number' ||
    !Number.isInteger(epoch) ||
    epoch < 0 ||
    epoch > MAX_EPOCH ||
    (kind !== 'epoch' && epoch !== 0) ||
    more.length > 0
  )
    throw new RotationError(
      'ROTATION_BAD_MESSAGE',
      'expected a request with two records, an agreement id and an epoch',
    );
  return reading(() => ({
    kind: kind as PairRequest['kind'],
    own: parseSaid(own),
    peer: parseSaid(peer),
    th,
    epoch,
  }));
}

export class PairRequests {
  readonly #deps: PairRequestsDeps;

  constructor(deps: PairRequestsDeps) {
    this.#deps = deps;
  }

  start(): void {
    this.#deps.network.handle(requestProtocol, requestLimits, (stream) => this.#serve(stream));
  }

  /** Resolves when the other end has done it. @throws ROTATION_UNREACHABLE, ROTATION_REFUSED, ROTATION_BAD_MESSAGE */
  async ask(aid: Aid, request: PairRequest): Promise<void> {
    const { network, directory } = this.#deps;
    const peer = directory.peerOf(aid);
    if (peer === undefined)
      throw new RotationError('ROTATION_UNREACHABLE', `${aid} is not connected`);
    const stream = await network.open(peer, requestProtocol, requestLimits);
    try {
      await stream.send(encodeRequest(request));
      const [word, code, ...more] = decodeList(await this.#receive(stream, aid));
      await stream.close();
      if (word === 'done' && code === undefined) return;
      if (word !== 'refused' || typeof code !== 'string' || more.length > 0)
        throw new RotationError('ROTATION_BAD_MESSAGE', 'expected done or a refusal');
      throw new RotationError('ROTATION_REFUSED', `${aid} refused: ${code.slice(0, 64)}`);
    } catch (error) {
      stream.abort(error as Error);
      throw error;
    }
  }

  async #serve(stream: MessageStream): Promise<void> {
    const { directory, answer } = this.#deps;
    const aid = directory.aidOf(stream.peer);
    try {
      if (aid === undefined)
        throw new RotationError('ROTATION_REFUSED', 'the peer has not said who it is');
      const request = decodeRequest(await this.#receive(stream, stream.peer));
      const refusal = await answer(aid, request).then(
        () => undefined,
        (error: { code?: string }) => error.code ?? 'ROTATION_REFUSED',
      );
      await stream.send(encodeCbor(refusal === undefined ? ['done'] : ['refused', refusal]));
      await stream.close();
    } catch (error) {
      stream.abort(error as Error);
    }
  }

  async #receive(stream: MessageStream, who: string): Promise<Uint8Array> {
    const bytes = await withDeadline(this.#deps.clock, ANSWER_MS, stream.receive(), () => {
      throw new RotationError('ROTATION_UNREACHABLE', `${who}: no answer within ${ANSWER_MS} ms`);
    });
    if (bytes === undefined)
      throw new RotationError('ROTATION_UNREACHABLE', `${who} ended the exchange`);
    return bytes;
  }
}

function decodeList(bytes: Uint8Array): readonly CborValue[] {
  const value = reading(() => decodeCbor(bytes));
  if (!Array.isArray(value)) throw new RotationError('ROTATION_BAD_MESSAGE', 'expected a list');
  return value;
}

function reading<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    throw new RotationError('ROTATION_BAD_MESSAGE', 'the message is not well formed', { cause });
  }
}
