/**
 * The messages of a tunnel proof, through the tunnel:
 *
 * ```
 * lower AID                      higher AID
 * offer (own end, nonce)     →
 *                            ←   offer (own end, nonce)
 * sign  (record, signatures) →
 *                            ←   sign (record, signatures)
 * deliver (signed by both)   →   has its leaf on disk
 *                            ←   done
 * ```
 * A lower end that did not see `done` begins with `deliver` at the next try: both logs hold the same statement.
 */
import {
  decodeIndexedSignature,
  encodeIndexedSignature,
  type IndexedSignatureInput,
} from '#kel/cesr/indexer';
import { parseAid, parseSaid } from '#kel/identifiers';
import type { TunnelEndFields } from '#kel/record/record';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import { ProofError } from './errors.ts';

export interface Offer {
  readonly kind: 'offer';
  readonly end: TunnelEndFields;
  /** 32 bytes. */
  readonly nonce: Uint8Array;
}

export interface Sign {
  readonly kind: 'sign';
  /** Body of the `tup` record. */
  readonly record: Uint8Array;
  readonly signatures: readonly IndexedSignatureInput[];
}

export interface Deliver {
  readonly kind: 'deliver';
  /** The `tup` record with both signature groups. */
  readonly message: Uint8Array;
}

export interface Done {
  readonly kind: 'done';
}

export type ProofMessage = Offer | Sign | Deliver | Done;

const MAX_SIGNATURES = 64;

export function encodeProofMessage(message: ProofMessage): Uint8Array {
  switch (message.kind) {
    case 'offer': {
      const { i, s, d, t, hs, c } = message.end;
      return encodeCbor(['offer', [i, s, d, t, hs, [c.o, c.n, c.r]], message.nonce]);
    }
    case 'sign':
      return encodeCbor(['sign', message.record, message.signatures.map(encodeIndexedSignature)]);
    case 'deliver':
      return encodeCbor(['deliver', message.message]);
    case 'done':
      return encodeCbor(['done']);
  }
}

/** Throws PROOF_BAD_MESSAGE. @param bytes attacker-controlled */
export function decodeProofMessage(bytes: Uint8Array): ProofMessage {
  try {
    const [kind, ...fields] = list(decodeCbor(bytes));
    if (kind === 'offer' && fields.length === 2)
      return { kind, end: decodeEnd(list(fields[0], 6)), nonce: octets(fields[1], 32) };
    if (kind === 'sign' && fields.length === 2) {
      const texts = list(fields[1]);
      if (texts.length > MAX_SIGNATURES) throw new TypeError('too many signatures');
      const signatures = texts.map((item) => {
        const { ondex, ...signature } = decodeIndexedSignature(text(item));
        return ondex === undefined ? signature : { ...signature, ondex };
      });
      return { kind, record: octets(fields[0]), signatures };
    }
    if (kind === 'deliver' && fields.length === 1) return { kind, message: octets(fields[0]) };
    if (kind === 'done' && fields.length === 0) return { kind };
  } catch (error) {
    throw new ProofError('PROOF_BAD_MESSAGE', 'the message is not well formed', { cause: error });
  }
  throw new ProofError('PROOF_BAD_MESSAGE', 'unknown message');
}

function decodeEnd([i, s, d, t, hs, c]: readonly CborValue[]): TunnelEndFields {
  const [o, n, r] = list(c, 3);
  return {
    i: parseAid(text(i)),
    s: integer(s),
    d: parseSaid(text(d)),
    t: parseSaid(text(t)),
    hs: text(hs),
    c: { o: text(o), n: integer(n), r: octets(r, 32) },
  };
}

function list(value: CborValue | undefined, length?: number): readonly CborValue[] {
  if (!Array.isArray(value) || (length !== undefined && value.length !== length))
    throw new TypeError('expected a list');
  return value;
}

function text(value: CborValue | undefined): string {
  if (typeof value !== 'string' || value.length > 256) throw new TypeError('expected a text');
  return value;
}

function integer(value: CborValue | undefined): number {
  if (typeof value !== 'number' || value < 0) throw new TypeError('expected a whole number');
  return value;
}

function octets(value: CborValue | undefined, length?: number): Uint8Array {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length))
    throw new TypeError('expected bytes');
  return value;
}
