/**
 * What the two ends of a tunnel ask of each other beside the change of keys itself: one request and one answer per stream.
 *
 *   renew    make a fresh agreement in place of the one named, or (32 zeros) because the asking end holds none: only the end with the lower AID begins one
 *   written  say whether the preshared key of the agreement named is on the device
 *   rekey    the same, and then force a handshake with it: the end that starts handshakes is asked
 *   wake     the asking end wants the tunnel, which sleeps: only the end with the lower AID begins an agreement
 *   sleep    nothing has gone through the tunnel for a while: let it sleep, at both ends
 *   epoch    the asking end has moved to this epoch although the clocks of the two differ; follow
 */
import type { Aid, Said } from '#kel/identifiers';
import { parseSaid } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import type { Manners } from '../../network/conversation.ts';
import {
  askPeer,
  decodeList,
  type ExchangeDeps,
  reading,
  refusal,
  serveExchange,
} from '../../network/exchange.ts';
import type { ProtocolId } from '../../network/network.ts';
import { RotationError } from './errors.ts';
import { REFUSED, rotationFailure } from './failure.ts';

const manners: Manners = {
  protocol: '/kelmesh/1/rotate' as ProtocolId,
  limits: { maxMessage: 512, maxStreams: 2 },
  // A fresh agreement with a slow token, or a handshake, may lie between request and answer.
  messageMs: 40_000,
  wholeMs: 50_000,
  failure: rotationFailure,
};

const KINDS = ['renew', 'written', 'rekey', 'epoch', 'wake', 'sleep'] as const;
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

export function encodeRequest({ kind, own, peer, th, epoch }: PairRequest): Uint8Array {
  return encodeCbor([kind, own, peer, th, epoch]);
}

/** @param bytes attacker-controlled  @throws ROTATION_BAD_MESSAGE */
export function decodeRequest(bytes: Uint8Array): PairRequest {
  const [kind, own, peer, th, epoch, ...more] = decodeList(bytes, rotationFailure);
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
  return reading(
    () => ({
      kind: kind as PairRequest['kind'],
      own: parseSaid(own),
      peer: parseSaid(peer),
      th,
      epoch,
    }),
    rotationFailure,
  );
}

export class PairRequests {
  readonly #deps: ExchangeDeps;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
  }

  start(answer: AnswerRequest): void {
    serveExchange(this.#deps, manners, async (bytes, peer) => {
      const aid = this.#deps.directory.aidOf(peer);
      if (aid === undefined)
        throw new RotationError('ROTATION_REFUSED', 'the peer has not said who it is');
      return answer(aid, decodeRequest(bytes)).then(
        (): CborValue => ['done'],
        (error: unknown) => refusal(error, REFUSED),
      );
    });
  }

  /** Resolves when the other end has done it. @throws ROTATION_UNREACHABLE, ROTATION_REFUSED, ROTATION_BAD_MESSAGE */
  async ask(aid: Aid, request: PairRequest): Promise<void> {
    const [word, ...more] = await askPeer(this.#deps, manners, aid, encodeRequest(request));
    if (word !== 'done' || more.length > 0)
      throw new RotationError('ROTATION_BAD_MESSAGE', 'expected done or a refusal');
  }
}
