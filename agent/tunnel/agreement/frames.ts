/**
 * What travels around the three messages on the stream, outside the model. None of it has authority.
 *
 *   greeting        version 1 · 0 · the terms; sent ahead of message 1
 *   refusal         version 1 · 255 · code [· both ends as the responder holds them]
 *   acknowledgement one byte, 6: the responder holds the agreement. A forged or lost one costs a fresh
 *                   run (liveness), never a wrong key: both ends were confirmed by messages 2 and 3
 */
import { concatBytes, lengthPrefixed, utf8 } from '#src/bytes';
import type { AgreementErrorCode } from './errors.ts';
import { FieldReader } from './fields.ts';
import { AGREEMENT_VERSION } from './messages.ts';
import {
  endFields,
  type PairEnd,
  type PairTerms,
  readEnd,
  readTerms,
  termsFields,
} from './terms.ts';

const GREETING = 0;
const REFUSAL = 255;

export const acknowledgement = Uint8Array.of(6);

/** Why a responder does not take part. */
export type RefusalCode = Extract<
  AgreementErrorCode,
  | 'AGREEMENT_CLOCK_SKEW'
  | 'AGREEMENT_CONTRIBUTION'
  | 'AGREEMENT_POLICY'
  | 'AGREEMENT_STALE_VIEW'
  | 'AGREEMENT_UNKNOWN_PEER'
  | 'AGREEMENT_WRONG_ROLE'
>;

const refusalCodes: readonly string[] = [
  'AGREEMENT_CLOCK_SKEW',
  'AGREEMENT_CONTRIBUTION',
  'AGREEMENT_POLICY',
  'AGREEMENT_STALE_VIEW',
  'AGREEMENT_UNKNOWN_PEER',
  'AGREEMENT_WRONG_ROLE',
] satisfies readonly RefusalCode[];

export interface AgreementRefusal {
  readonly code: RefusalCode;
  /** With AGREEMENT_STALE_VIEW: the ends as the refusing side holds them; a hint for synchronising, not a fact. */
  readonly held?: { readonly initiator: PairEnd; readonly responder: PairEnd };
}

export function isRefusalCode(code: string): code is RefusalCode {
  return refusalCodes.includes(code);
}

export function encodeGreeting(terms: PairTerms): Uint8Array {
  return concatBytes(
    Uint8Array.of(AGREEMENT_VERSION, GREETING),
    lengthPrefixed(...termsFields(terms)),
  );
}

/** @throws AGREEMENT_BAD_MESSAGE, AGREEMENT_WRONG_ROLE, AGREEMENT_POLICY, AGREEMENT_CONTRIBUTION */
export function decodeGreeting(bytes: Uint8Array): PairTerms {
  const reader = new FieldReader(bytes, 'greeting');
  reader.constant('version', AGREEMENT_VERSION);
  reader.constant('frame', GREETING);
  const terms = readTerms(reader);
  reader.end();
  return terms;
}

export function isRefusal(bytes: Uint8Array): boolean {
  return bytes[0] === AGREEMENT_VERSION && bytes[1] === REFUSAL;
}

export function encodeRefusal({ code, held }: AgreementRefusal): Uint8Array {
  const ends =
    held === undefined ? [] : [...endFields(held.initiator), ...endFields(held.responder)];
  return concatBytes(
    Uint8Array.of(AGREEMENT_VERSION, REFUSAL),
    lengthPrefixed(utf8(code), ...ends),
  );
}

/** @throws AGREEMENT_BAD_MESSAGE */
export function decodeRefusal(bytes: Uint8Array): AgreementRefusal {
  const reader = new FieldReader(bytes, 'refusal');
  reader.constant('version', AGREEMENT_VERSION);
  reader.constant('frame', REFUSAL);
  const code = reader.text('code', /^[A-Z_]+$/, 64);
  if (!isRefusalCode(code))
    throw reader.fail(`code: expected one of ${refusalCodes.join(', ')}, got ${code}`);
  if (reader.isAtEnd) return { code };
  const held = { initiator: readEnd(reader, 'initiator'), responder: readEnd(reader, 'responder') };
  reader.end();
  return { code, held };
}
