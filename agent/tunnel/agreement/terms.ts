/**
 * The terms of one agreement: which mesh, which two ends in which state, which policy.
 *
 * Both ends know them before the first message and the transcript covers them. The initiator also sends them
 * in clear ahead of message 1, so that the responder finds the views they name, or says which it holds. That
 * greeting has no authority: a forged one leads to another transcript, and so to nothing.
 */
import type { Aid, Said } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { uint64be, utf8 } from '#src/bytes';
import type { PairRole } from '#src/crypto/labels';
import { AgreementError } from './errors.ts';
import type { FieldReader } from './fields.ts';
import { type AgreementPolicy, decodePolicy, encodePolicy, MAX_POLICY_BYTES } from './policy.ts';

/** One end as the log shows it. */
export interface PairEnd {
  readonly aid: Aid;
  /** Establishment event whose keys sign. */
  readonly establishment: EventReference;
  /** SAID of the sealed `tun` record whose ML-KEM key is used. */
  readonly tunnelRecord: Said;
}

export interface AgreementPair {
  /** SAID of the mesh's first charter; 1 to 64 characters of base64url. */
  readonly mesh: string;
  /** The end with the lower AID. */
  readonly initiator: PairEnd;
  readonly responder: PairEnd;
}

export interface PairTerms extends AgreementPair {
  readonly policy: AgreementPolicy;
}

const meshPattern = /^[A-Za-z0-9_-]{1,64}$/;
const identifierPattern = /^[A-Za-z0-9_-]{44,48}$/;

/** @param aid either end  @returns the role of that end in the pair with `other`  @throws AGREEMENT_WRONG_ROLE when both are one */
export function roleOf(aid: Aid, other: Aid): PairRole {
  if (aid === other)
    throw new AgreementError('AGREEMENT_WRONG_ROLE', `${aid} cannot agree with itself`);
  return aid < other ? 'initiator' : 'responder';
}

/** The pair of two ends, each in its role. */
export function pairOf(mesh: string, one: PairEnd, other: PairEnd): AgreementPair {
  const [initiator, responder] =
    roleOf(one.aid, other.aid) === 'initiator' ? [one, other] : [other, one];
  return { mesh, initiator: endOf(initiator), responder: endOf(responder) };
}

/** Exactly the fields of {@link PairEnd}, whatever else `end` carries. */
function endOf({ aid, establishment: { sn, said }, tunnelRecord }: PairEnd): PairEnd {
  return { aid, establishment: { sn, said }, tunnelRecord };
}

/** The terms as a list of fields, the same in transcript, greeting and store. */
export function termsFields(terms: PairTerms): readonly Uint8Array[] {
  return [
    utf8(terms.mesh),
    ...endFields(terms.initiator),
    ...endFields(terms.responder),
    encodePolicy(terms.policy),
  ];
}

export function endFields(end: PairEnd): readonly Uint8Array[] {
  return [
    utf8(end.aid),
    uint64be(BigInt(end.establishment.sn)),
    utf8(end.establishment.said),
    utf8(end.tunnelRecord),
  ];
}

/** Reads what {@link termsFields} wrote. @throws the reader's code, AGREEMENT_WRONG_ROLE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
export function readTerms(reader: FieldReader): PairTerms {
  const mesh = reader.text('mesh', meshPattern, 64);
  const initiator = readEnd(reader, 'initiator');
  const responder = readEnd(reader, 'responder');
  const policy = decodePolicy(reader.bytes('policy', 0, MAX_POLICY_BYTES));
  if (roleOf(initiator.aid, responder.aid) !== 'initiator') {
    throw new AgreementError(
      'AGREEMENT_WRONG_ROLE',
      `initiator ${initiator.aid}: expected an AID below ${responder.aid}`,
    );
  }
  return { mesh, initiator, responder, policy };
}

export function readEnd(reader: FieldReader, role: PairRole): PairEnd {
  return {
    aid: reader.text(`${role} AID`, identifierPattern, 48) as Aid,
    establishment: {
      sn: reader.counter(`${role} sequence number`),
      said: reader.text(`${role} establishment SAID`, identifierPattern, 48) as Said,
    },
    tunnelRecord: reader.text(`${role} tun record`, identifierPattern, 48) as Said,
  };
}

export function isSameEnd(one: PairEnd, other: PairEnd): boolean {
  return (
    one.aid === other.aid &&
    one.establishment.sn === other.establishment.sn &&
    one.establishment.said === other.establishment.said &&
    one.tunnelRecord === other.tunnelRecord
  );
}
