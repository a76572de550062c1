/**
 * `/kelmesh/1/query`: one signed KERI query per stream, and its answer.
 *
 * ```
 * asks     qry with -H  →
 *                       ←  [ 0, piece ] …  or  [ 1, code, reason ]
 * ```
 * The pieces joined are a CESR stream: of `logs` the events, of `ksn` one signed reply.
 */
import { decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { QueryError } from './errors.ts';

export const queryProtocol = '/kelmesh/1/query' as ProtocolId;
export const queryLimits: ProtocolLimits = {
  maxMessage: 64 * 1024,
  maxFromStranger: 4 * 1024,
  maxStreams: 2,
};

/** Bytes of one piece: with its frame within {@link queryLimits}. */
export const PIECE_BYTES = 48 * 1024;

export type QueryAnswer =
  | { readonly kind: 'piece'; readonly bytes: Uint8Array }
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string };

const PIECE = 0;
const REFUSED = 1;
const MAX_REASON = 1_024;

export function encodeAnswer(answer: QueryAnswer): Uint8Array {
  return answer.kind === 'piece'
    ? encodeCbor([PIECE, answer.bytes])
    : encodeCbor([REFUSED, answer.code, answer.reason.slice(0, MAX_REASON)]);
}

/** @param bytes attacker-controlled  @throws QUERY_BAD_MESSAGE */
export function decodeAnswer(bytes: Uint8Array): QueryAnswer {
  const [tag, first, second, ...more] = listIn(bytes);
  if (tag === PIECE && first instanceof Uint8Array && first.length > 0 && second === undefined)
    return { kind: 'piece', bytes: first };
  const isRefusal =
    tag === REFUSED &&
    typeof first === 'string' &&
    /^[A-Z][A-Z0-9_]{0,63}$/.test(first) &&
    typeof second === 'string' &&
    second.length <= MAX_REASON &&
    more.length === 0;
  if (isRefusal) return { kind: 'refused', code: first, reason: second };
  throw new QueryError('QUERY_BAD_MESSAGE', 'the answer is neither a piece nor a refusal');
}

function listIn(bytes: Uint8Array): readonly unknown[] {
  try {
    const value = decodeCbor(bytes);
    if (Array.isArray(value)) return value;
  } catch (cause) {
    throw new QueryError('QUERY_BAD_MESSAGE', 'the answer is not well formed', { cause });
  }
  throw new QueryError('QUERY_BAD_MESSAGE', 'the answer is no list');
}
