/** Counter codes of CESR 1.0, version 1 table: `-` letter count(2), or `-0` letter count(5). */
import { KelError } from '#kel/errors';
import {
  base64ToInteger,
  decodeBase64,
  encodeBase64,
  integerToBase64,
  sextetOf,
} from './base64.ts';

/** What stands behind a counter, and what it counts: items, or quadlets of 4 characters (3 bytes). */
export const COUNTER_CODES = {
  A: 'controller signatures',
  B: 'witness signatures',
  C: 'non-transferable receipt couples',
  D: 'transferable receipt quadruples',
  E: 'first-seen replay couples',
  F: 'transferable signature groups',
  G: 'seal source couples',
  H: 'transferable last signature groups',
  I: 'seal source triples',
  J: 'SAD path signatures',
  K: 'SAD path signature groups',
  L: 'pathed material',
  V: 'attachments of one message',
} as const;

export type CounterCode = keyof typeof COUNTER_CODES;

export interface Counter {
  readonly code: CounterCode;
  readonly count: number;
  /** Characters of the counter itself: 4, or 8 in the big form. */
  readonly length: number;
}

/** By character code. */
const SMALL_CODES: readonly (CounterCode | undefined)[] = Array.from({ length: 256 }, (_, byte) => {
  const letter = String.fromCharCode(byte);
  return Object.hasOwn(COUNTER_CODES, letter) ? (letter as CounterCode) : undefined;
});

export const COUNTER_MAX_SMALL = 64 ** 2 - 1;
/** Characters that {@link decodeCounter} needs to see at most. */
export const COUNTER_HEAD_LENGTH = 8;
/** Genus and version of this table, as some senders put it in front of a stream. */
export const GENUS_VERSION_1 = '-_AAABAA';

/** @throws RangeError above 64^5 − 1 */
export function encodeCounter(code: CounterCode, count: number): string {
  return count <= COUNTER_MAX_SMALL
    ? `-${code}${integerToBase64(count, 2)}`
    : `-0${code}${integerToBase64(count, 5)}`;
}

/** @param head begins with the counter; what follows it is not looked at  @throws KEL_BAD_CODE */
export function decodeCounter(head: string): Counter {
  const big = head.charAt(1) === '0';
  const code = head.charAt(big ? 2 : 1);
  const length = big ? 8 : 4;
  const count = head.length < length ? undefined : base64ToInteger(head.slice(big ? 3 : 2, length));
  if (head.charAt(0) !== '-' || count === undefined || !Object.hasOwn(COUNTER_CODES, code)) {
    throw new KelError('KEL_BAD_CODE', `unknown counter ${JSON.stringify(head.slice(0, length))}`);
  }
  return { code: code as CounterCode, count, length };
}

/**
 * A counter of the small form, read where it stands.
 * @param text has 4 characters from `at`
 * @returns undefined for the big form and for what {@link decodeCounter} refuses
 */
export function readSmallCounter(text: Uint8Array, at: number): Counter | undefined {
  const code = SMALL_CODES[text[at + 1] as number];
  if (text[at] !== 0x2d || code === undefined) return undefined;
  const high = sextetOf(text[at + 2] as number);
  const low = sextetOf(text[at + 3] as number);
  return high < 0 || low < 0 ? undefined : { code, count: high * 64 + low, length: 4 };
}

export function encodeCounterBinary(code: CounterCode, count: number): Uint8Array {
  return decodeBase64(encodeCounter(code, count));
}

/** @param head 3 bytes, or 6 of the big form  @throws KEL_BAD_CODE */
export function decodeCounterBinary(head: Uint8Array): Counter {
  return decodeCounter(encodeBase64(head.subarray(0, head.length >= 6 ? 6 : 3)));
}
