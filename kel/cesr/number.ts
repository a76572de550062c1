/** Numbers of KERI: hex strings in bodies, 16-byte ordinals (`0A`) in attachments. */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { decodeMatter, encodeMatter } from './matter.ts';
import { SALT_OR_ORDINAL } from './matter-codes.ts';

/**
 * Lower-case hex without leading zeros. Sequence numbers beyond 2^53 − 1 are refused by policy: no log gets there.
 * @throws KEL_BAD_VALUE
 */
export function parseHexNumber(label: string, value: unknown): number {
  if (typeof value !== 'string' || !/^(0|[1-9a-f][0-9a-f]{0,13})$/.test(value)) {
    throw new KelError(
      'KEL_BAD_VALUE',
      `${label}: expected lower-case hex without leading zeros, got ${quote(value)}`,
    );
  }
  const number = Number.parseInt(value, 16);
  if (!Number.isSafeInteger(number))
    throw new KelError('KEL_BAD_VALUE', `${label}: ${value} is above 2^53 - 1`);
  return number;
}

/** @param value non-negative safe integer  @returns 24 characters */
export function encodeOrdinal(value: number): string {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is not an ordinal`);
  const raw = new Uint8Array(16);
  new DataView(raw.buffer).setBigUint64(8, BigInt(value));
  return encodeMatter(SALT_OR_ORDINAL, raw);
}

/** @throws KEL_BAD_CODE, KEL_BAD_VALUE above 2^53 − 1 */
export function decodeOrdinal(qb64: string): number {
  const { code, raw } = decodeMatter(qb64);
  if (code !== SALT_OR_ORDINAL)
    throw new KelError('KEL_BAD_CODE', `ordinal: expected code 0A, got ${code}`);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const low = view.getBigUint64(8);
  if (view.getBigUint64(0) !== 0n || low > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new KelError('KEL_BAD_VALUE', `ordinal ${qb64} is above 2^53 - 1`);
  }
  return Number(low);
}
