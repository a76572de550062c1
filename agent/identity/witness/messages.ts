/**
 * Messages of `/kelmesh/1/witness`, each one CBOR list in one frame:
 *
 * ```
 * client   ['who']                        → ['witness', AID, serves]
 * client   ['receipt', event]             → ['receipted', rct] | ['behind', AID, from] | ['refused', code, reason]
 * client   ['log', stream]                → no answer; the event that was behind is asked for again
 * client   ['open']                       → ['open', event]
 * ```
 * `event` is one signed event, `stream` the log of that AID from sequence number `from` on (of a delegated event:
 * of its delegator too), `rct` a receipt message. `open` asks for the event of the AID that asks which was receipted and is
 * not final, and is answered with no bytes where there is none.
 */
import { type Aid, parseAid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { WitnessError } from './errors.ts';

export const witnessProtocol = '/kelmesh/1/witness' as ProtocolId;
export const witnessLimits: ProtocolLimits = { maxMessage: 320 * 1024, maxStreams: 2 };

/** Bytes of the event of one request, and of one page of a log. */
const MAX_EVENT = 64 * 1024;
export const MAX_PAGE = 256 * 1024;

export type WitnessRequest =
  | { readonly kind: 'who' | 'open' }
  | { readonly kind: 'receipt'; readonly event: Uint8Array }
  | { readonly kind: 'log'; readonly stream: Uint8Array };

export type WitnessAnswer =
  | { readonly kind: 'witness'; readonly aid: Aid; readonly serves: boolean }
  | { readonly kind: 'receipted'; readonly receipt: Uint8Array }
  /** The witness lacks the log of `aid` from this sequence number on. */
  | { readonly kind: 'behind'; readonly aid: Aid; readonly from: number }
  /** Empty: nothing is open. */
  | { readonly kind: 'open'; readonly event: Uint8Array }
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string };

export function encodeRequest(request: WitnessRequest): Uint8Array {
  switch (request.kind) {
    case 'who':
    case 'open':
      return encodeCbor([request.kind]);
    case 'receipt':
      return encodeCbor(['receipt', request.event]);
    case 'log':
      return encodeCbor(['log', request.stream]);
  }
}

/** Throws WITNESS_BAD_REQUEST. @param bytes attacker-controlled */
export function decodeRequest(bytes: Uint8Array): WitnessRequest {
  const [kind, ...fields] = fieldsOf(bytes);
  if ((kind === 'who' || kind === 'open') && fields.length === 0) return { kind };
  if (kind === 'receipt' && fields.length === 1)
    return { kind, event: bytesOf(fields[0], MAX_EVENT) };
  if (kind === 'log' && fields.length === 1) return { kind, stream: bytesOf(fields[0], MAX_PAGE) };
  throw bad('unknown request');
}

export function encodeAnswer(answer: WitnessAnswer): Uint8Array {
  switch (answer.kind) {
    case 'witness':
      return encodeCbor(['witness', answer.aid, answer.serves]);
    case 'receipted':
      return encodeCbor(['receipted', answer.receipt]);
    case 'behind':
      return encodeCbor(['behind', answer.aid, answer.from]);
    case 'open':
      return encodeCbor(['open', answer.event]);
    case 'refused':
      return encodeCbor(['refused', answer.code, answer.reason.slice(0, 512)]);
  }
}

/** Throws WITNESS_BAD_REQUEST. @param bytes attacker-controlled */
export function decodeAnswer(bytes: Uint8Array): WitnessAnswer {
  const [kind, ...fields] = fieldsOf(bytes);
  if (kind === 'witness' && fields.length === 2 && typeof fields[1] === 'boolean')
    return { kind, aid: aidOf(fields[0]), serves: fields[1] };
  if (kind === 'receipted' && fields.length === 1)
    return { kind, receipt: bytesOf(fields[0], 4_096) };
  if (kind === 'behind' && fields.length === 2 && isIndex(fields[1]))
    return { kind, aid: aidOf(fields[0]), from: fields[1] };
  if (kind === 'open' && fields.length === 1) return { kind, event: bytesOf(fields[0], MAX_EVENT) };
  if (kind === 'refused' && fields.length === 2)
    return { kind, code: textOf(fields[0], 64), reason: textOf(fields[1], 512) };
  throw bad('unknown answer');
}

function fieldsOf(bytes: Uint8Array): readonly CborValue[] {
  let value: CborValue;
  try {
    value = decodeCbor(bytes);
  } catch (cause) {
    throw new WitnessError('WITNESS_BAD_REQUEST', 'the message is not well formed', { cause });
  }
  if (!Array.isArray(value) || value.length > 3) throw bad('expected a list of at most 3');
  return value;
}

function aidOf(value: CborValue | undefined): Aid {
  try {
    return parseAid(textOf(value, 64));
  } catch (cause) {
    throw new WitnessError('WITNESS_BAD_REQUEST', 'expected an AID', { cause });
  }
}

function bytesOf(value: CborValue | undefined, max: number): Uint8Array {
  if (!(value instanceof Uint8Array) || value.length > max)
    throw bad(`expected at most ${max} bytes`);
  return value;
}

function textOf(value: CborValue | undefined, max: number): string {
  if (typeof value !== 'string' || value.length > max)
    throw bad(`expected a text of at most ${max} characters`);
  return value;
}

function isIndex(value: CborValue | undefined): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function bad(what: string): WitnessError {
  return new WitnessError('WITNESS_BAD_REQUEST', what);
}
