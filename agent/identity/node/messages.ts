/**
 * Messages of `/kelmesh/1/node`: a node asks its organisation to approve an event, again and again until it is.
 *
 * ```
 * node   ['request', name, stream]   → ['approved', stream] | ['waiting'] | ['refused', code, reason]
 * ```
 */
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import type { ProtocolId, ProtocolLimits } from '../../network/network.ts';
import { NodeError } from './errors.ts';
import { MAX_REQUEST } from './request.ts';

export const nodeProtocol = '/kelmesh/1/node' as ProtocolId;
/** At the node, which takes in the logs of its delegators. */
export const nodeLimits: ProtocolLimits = { maxMessage: 8 << 20, maxStreams: 1 };
/** At the organisation: it answers more than it hears. A node that nobody knows yet brings one inception. */
export const nodeRequestLimits: ProtocolLimits = {
  ...nodeLimits,
  maxReceived: MAX_REQUEST + 1_024,
  maxFromStranger: 128 * 1024,
};

/** Bytes of the logs in one answer. */
export const MAX_APPROVAL = 8_000_000;

export type NodeAnswer =
  | { readonly kind: 'approved'; readonly stream: Uint8Array }
  | { readonly kind: 'waiting' }
  | { readonly kind: 'refused'; readonly code: string; readonly reason: string };

export function encodeNodeRequest(name: string, stream: Uint8Array): Uint8Array {
  return encodeCbor(['request', name, stream]);
}

/** Throws NODE_BAD_REQUEST. @param bytes attacker-controlled */
export function decodeNodeRequest(bytes: Uint8Array): { name: string; stream: Uint8Array } {
  const [kind, name, stream, ...more] = fieldsOf(bytes);
  if (
    kind !== 'request' ||
    typeof name !== 'string' ||
    name.length > 64 ||
    !(stream instanceof Uint8Array) ||
    stream.length > MAX_REQUEST ||
    more.length > 0
  )
    throw new NodeError('NODE_BAD_REQUEST', 'the message is not a request of a node');
  return { name, stream };
}

export function encodeNodeAnswer(answer: NodeAnswer): Uint8Array {
  switch (answer.kind) {
    case 'approved':
      return encodeCbor(['approved', answer.stream]);
    case 'waiting':
      return encodeCbor(['waiting']);
    case 'refused':
      return encodeCbor(['refused', answer.code, answer.reason.slice(0, 512)]);
  }
}

/** Throws NODE_BAD_REQUEST. @param bytes attacker-controlled */
export function decodeNodeAnswer(bytes: Uint8Array): NodeAnswer {
  const [kind, ...fields] = fieldsOf(bytes);
  const [first, second] = fields;
  if (kind === 'approved' && fields.length === 1 && first instanceof Uint8Array)
    return { kind, stream: first };
  if (kind === 'waiting' && fields.length === 0) return { kind };
  if (
    kind === 'refused' &&
    fields.length === 2 &&
    typeof first === 'string' &&
    first.length <= 64 &&
    typeof second === 'string' &&
    second.length <= 512
  )
    return { kind, code: first, reason: second };
  throw new NodeError('NODE_BAD_REQUEST', 'the message is not an answer to a node');
}

function fieldsOf(bytes: Uint8Array): readonly CborValue[] {
  try {
    const value = decodeCbor(bytes);
    if (Array.isArray(value) && value.length <= 4) return value;
  } catch {
    // Said below.
  }
  throw new NodeError('NODE_BAD_REQUEST', 'the message is not well formed');
}
