/**
 * Keys of the store's table. Ordinals have a fixed width, so byte order is numeric order.
 *
 * ```
 * event.AID.sn.SAID            signed message: body and attachments; superseded events stay
 * first.ordinal                first-seen log: what was accepted, in order over all AIDs
 * chain.AID.sn                 the event that stands at sn
 * state.AID.sn                 key state after the establishment event that stands at sn
 * head.AID                     key state after the last event
 * seal.AID.SAID                events of AID that carry the seal {d: SAID}
 * approval.AID.AID.sn.SAID     events of the first AID that carry the seal {i, s, d}
 * escrow.ordinal               a message that waits
 * conflict.AID.sn.SAID         duplicity: a validly signed event that lost to the one first seen, and that one
 * proof.AID.sn.SAID            evidence file of that case, where the log here cannot give it
 * ```
 */
import type { Aid, Said } from '#kel/identifiers';
import { ORDINAL_LENGTH, ordinal } from '#src/store/ordinal';

export const FIRST_SEEN = 'first.';
export const HEAD = 'head.';
export const CONFLICT = 'conflict.';
export const PROOF = 'proof.';

/** What follows from the first-seen log and the events alone. */
export const DERIVED = ['chain.', 'state.', HEAD, 'seal.', 'approval.'] as const;

export const eventKey = (aid: Aid, sn: number, said: Said): string =>
  `event.${aid}.${ordinal(sn)}.${said}`;

export const firstSeenKey = (at: number): string => FIRST_SEEN + ordinal(at);

export const chainKey = (aid: Aid, sn: number): string => `chain.${aid}.${ordinal(sn)}`;

export const stateKey = (aid: Aid, sn: number): string => `state.${aid}.${ordinal(sn)}`;

export const headKey = (aid: Aid): string => HEAD + aid;

export const sealKey = (aid: Aid, said: string): string => `seal.${aid}.${said}`;

/** @param sn as the seal has it: lower-case hex without leading zeros */
export const approvalKey = (delegator: Aid, aid: string, sn: string, said: string): string =>
  `approval.${delegator}.${aid}.${sn.padStart(ORDINAL_LENGTH, '0')}.${said}`;

export const conflictKey = (aid: Aid, sn: number, said: Said): string =>
  `${CONFLICT}${aid}.${ordinal(sn)}.${said}`;

export const proofKey = (aid: Aid, sn: number, said: Said): string =>
  `${PROOF}${aid}.${ordinal(sn)}.${said}`;
