/** Numbers as parts of table keys. */

/** Hexadecimal digits of 2^53. */
export const ORDINAL_LENGTH = 14;

/** Of a fixed width, so that byte order is numeric order. @param value an integer from 0 to 2^53 − 1 */
export function ordinal(value: number): string {
  return value.toString(16).padStart(ORDINAL_LENGTH, '0');
}
