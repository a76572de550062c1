/**
 * Keys of the store's table. Ordinals have a fixed width, so byte order is numeric order.
 *
 * ```
 * event.AID.sn.SAID            signed message: body and its -V group
 * chain.AID.sn                 SAID of the event that stands at sn
 * first.AID.ordinal            first-seen log: what was accepted, in order, superseded events included
 * head.AID                     key state and length of the first-seen log
 * seal.AID.SAID                events of AID that carry the seal {d: SAID}
 * delegation.AID.AID.sn.SAID   events of the first AID that carry the seal {i, s, d}
 * escrow.ordinal               a message that waits
 * conflict.AID.sn.SAID         duplicity: a validly signed event that lost to the one first seen
 * ```
 */
import type { Aid, Said } from '#kel/identifiers';

export const eventKey = (aid: Aid, sn: number, said: Said): string =>
  `event.${aid}.${ordinal(sn)}.${said}`;

export const chainKey = (aid: Aid, sn: number): string => `chain.${aid}.${ordinal(sn)}`;

export const firstSeenPrefix = (aid: Aid): string => `first.${aid}.`;

export const firstSeenKey = (aid: Aid, at: number): string => `first.${aid}.${ordinal(at)}`;

export const headPrefix = 'head.';

export const headKey = (aid: Aid): string => `head.${aid}`;

export const sealKey = (aid: Aid, said: Said): string => `seal.${aid}.${said}`;

export const delegationKey = (aid: Aid, delegate: Aid, sn: number, said: Said): string =>
  `delegation.${aid}.${delegate}.${ordinal(sn)}.${said}`;

export const escrowPrefix = 'escrow.';

export const escrowKey = (at: number): string => `escrow.${ordinal(at)}`;

export const conflictPrefix = 'conflict.';

export const conflictKey = (aid: Aid, sn: number, said: Said): string =>
  `conflict.${aid}.${ordinal(sn)}.${said}`;

/** 14 hexadecimal digits: every safe integer. */
function ordinal(value: number): string {
  return value.toString(16).padStart(14, '0');
}
