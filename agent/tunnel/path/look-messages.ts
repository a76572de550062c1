/**
 * What two ends of a tunnel ask of each other when no packets pass: which keys the other goes by for this pair, and what its device has
 * counted. It is told to that member alone, moves nothing where it arrives, and is believed for nothing but words.
 *
 * `['look']` is answered with `['look', own, peer, view]`: the SAIDs of the newest `tun` records of both ends, empty where there is none;
 * `view` is empty without a device, or `[agreement, epoch, received, sent, age, endpoint]`.
 */

import { parseSaid, type Said } from '#kel/identifiers';
import { type CborValue, encodeCbor } from '#src/cbor';
import { failuresAs, type Manners } from '../../network/conversation.ts';
import { decodeList, reading } from '../../network/exchange.ts';
import type { ProtocolId } from '../../network/network.ts';
import { PathError } from './errors.ts';

export interface EndLook {
  readonly own: Said | undefined;
  readonly peer: Said | undefined;
  /** Undefined: the member stands on no device. */
  readonly view: ViewLook | undefined;
}

export interface ViewLook {
  /** Agreement id, 32 bytes; undefined: none. */
  readonly agreement: Uint8Array | undefined;
  readonly epoch: number;
  /** Bytes since the device was made. */
  readonly received: number;
  readonly sent: number;
  /** Seconds since the last handshake; undefined: there was none. */
  readonly handshakeAge: number | undefined;
  readonly hasEndpoint: boolean;
}

const failure = failuresAs(
  {
    unreachable: 'PATH_UNREACHABLE',
    silent: 'PATH_UNREACHABLE',
    ended: 'PATH_UNREACHABLE',
    refused: 'PATH_REFUSED',
    malformed: 'PATH_BAD_MESSAGE',
  },
  (...details) => new PathError(...details),
);

export const lookManners: Manners = {
  protocol: '/kelmesh/1/look' as ProtocolId,
  limits: { maxMessage: 512, maxStreams: 2 },
  messageMs: 5_000,
  wholeMs: 8_000,
  failure,
};

export const lookRequest: Uint8Array = encodeCbor(['look']);

/** @param bytes attacker-controlled  @throws PATH_BAD_MESSAGE */
export function expectLookRequest(bytes: Uint8Array): void {
  const [word, ...more] = decodeList(bytes, failure);
  if (word !== 'look' || more.length > 0) throw bad('expected ["look"]');
}

export function lookAnswer({ own, peer, view }: EndLook): CborValue {
  return ['look', own ?? '', peer ?? '', view === undefined ? [] : viewAnswer(view)];
}

function viewAnswer(view: ViewLook): CborValue {
  const { agreement, epoch, received, sent, handshakeAge, hasEndpoint } = view;
  const age = handshakeAge ?? -1;
  return [agreement ?? new Uint8Array(0), epoch, received, sent, age, hasEndpoint];
}

/** @param answer attacker-controlled, decoded  @throws PATH_BAD_MESSAGE */
export function parseLookAnswer(answer: readonly CborValue[]): EndLook {
  const [word, own, peer, view, ...more] = answer;
  if (word !== 'look' || more.length > 0 || !Array.isArray(view)) throw bad('expected a look');
  return {
    own: saidOrNone(own),
    peer: saidOrNone(peer),
    view: view.length === 0 ? undefined : parseView(view),
  };
}

function parseView(view: readonly CborValue[]): ViewLook {
  const [agreement, epoch, received, sent, age, hasEndpoint, ...more] = view;
  if (
    !(agreement instanceof Uint8Array) ||
    (agreement.length !== 0 && agreement.length !== 32) ||
    !isCount(epoch) ||
    !isCount(received) ||
    !isCount(sent) ||
    typeof age !== 'number' ||
    (age !== -1 && !isCount(age)) ||
    typeof hasEndpoint !== 'boolean' ||
    more.length > 0
  )
    throw bad('expected a view with an agreement id, counters and an age');
  return {
    agreement: agreement.length === 0 ? undefined : agreement,
    epoch,
    received,
    sent,
    handshakeAge: age === -1 ? undefined : age,
    hasEndpoint,
  };
}

function isCount(value: CborValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function saidOrNone(value: CborValue | undefined): Said | undefined {
  if (value === '') return undefined;
  return reading(() => parseSaid(value), failure);
}

function bad(message: string): PathError {
  return new PathError('PATH_BAD_MESSAGE', message);
}
