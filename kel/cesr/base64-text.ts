/** Base64url text as a primitive (`4A`, `5A`, `6A`): paths, weighted thresholds. */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { decodeBase64, encodeBase64, isBase64 } from './base64.ts';
import { decodeMatter, encodeVariableMatter } from './matter.ts';

/**
 * The text is front-padded with `A` to whole quadlets, so one that begins with `A` does not come back.
 * @throws KEL_BAD_VALUE for such a text or a foreign character
 */
export function encodeBase64Text(text: string): string {
  if (!isBase64(text) || text.startsWith('A')) {
    throw new KelError(
      'KEL_BAD_VALUE',
      `Base64 text: ${quote(text)} does not survive its encoding`,
    );
  }
  const tail = text.length % 4;
  const bytes = decodeBase64('A'.repeat((4 - tail) % 4) + text);
  return encodeVariableMatter('A', bytes.subarray(tail === 0 ? 0 : 3 - tail));
}

/** @throws KEL_BAD_CODE, KEL_BAD_VALUE */
export function decodeBase64Text(qb64: string): string {
  const { code, raw } = decodeMatter(qb64);
  if (!/^[4-9](AA)?A$/.test(code))
    throw new KelError('KEL_BAD_CODE', `Base64 text: code ${code} is another type`);
  const lead = (3 - (raw.length % 3)) % 3;
  const padded = new Uint8Array(lead + raw.length);
  padded.set(raw, lead);
  const text = encodeBase64(padded).slice(lead).replace(/^A+/, '');
  if (encodeBase64Text(text) !== qb64)
    throw new KelError('KEL_BAD_VALUE', `Base64 text: ${qb64} is not canonical`);
  return text;
}

/** Path into nested data, root first: `-`, `-e-icp`. */
export function encodePath(parts: readonly string[]): string {
  return encodeBase64Text(`-${parts.join('-')}`);
}
