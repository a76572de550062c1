/** Date-times as primitives (`1AAG`): the 32-character form with `:`, `.`, `+` written `c`, `d`, `p`. */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { decodeBase64 } from './base64.ts';
import { DATE_TIME } from './matter-codes.ts';

const FORM = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d$/;

/** @param text `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`  @throws KEL_BAD_VALUE */
export function encodeDateTime(text: string): string {
  if (!FORM.test(text))
    throw new KelError(
      'KEL_BAD_VALUE',
      `date-time: expected 32 characters with microseconds and offset, got ${quote(text)}`,
    );
  return DATE_TIME + text.replaceAll(':', 'c').replace('.', 'd').replace('+', 'p');
}

/** @throws KEL_BAD_VALUE */
export function decodeDateTime(qb64: string): string {
  const value = qb64.slice(DATE_TIME.length);
  const text = value.replaceAll('c', ':').replace('d', '.').replace('p', '+');
  if (!qb64.startsWith(DATE_TIME) || !FORM.test(text) || encodeDateTime(text) !== qb64) {
    throw new KelError('KEL_BAD_VALUE', `date-time: ${quote(qb64)} is not one`);
  }
  decodeBase64(value);
  return text;
}
