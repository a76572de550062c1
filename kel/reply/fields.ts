/** Checks of fields that replies and queries share beyond those of key events. */
import { type BodyMap, isBodyMap } from '#kel/cesr/body-value';
import { encodeDateTime } from '#kel/cesr/date-time';
import { KelError } from '#kel/errors';
import { textField } from '#kel/event/fields';
import { quote } from '#kel/quote';

/** @throws KEL_BAD_SCHEMA unless the labels are these, in this order */
export function expectLabels(what: string, fields: BodyMap, expected: readonly string[]): void {
  const got = [...fields.keys()];
  if (got.length !== expected.length || got.some((label, i) => label !== expected[i]))
    throw new KelError(
      'KEL_BAD_SCHEMA',
      `${what}: expected fields ${expected.join(' ')}, got ${got.join(' ').slice(0, 200)}`,
    );
}

/** @throws KEL_BAD_VALUE */
export function mapField(fields: BodyMap, label: string): BodyMap {
  const value = fields.get(label);
  if (!isBodyMap(value)) throw new KelError('KEL_BAD_VALUE', `field ${label}: expected a map`);
  return value;
}

/** `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`, any offset. @throws KEL_BAD_VALUE */
export function dateTimeField(fields: BodyMap, label: string): string {
  const text = textField(fields, label);
  encodeDateTime(text);
  microsecondsOf(text);
  return text;
}

/** Microseconds since the Unix epoch, negative before it. @param dateTime of the 32-character form  @throws KEL_BAD_VALUE */
export function microsecondsOf(dateTime: string): bigint {
  const ms = Date.parse(dateTime.slice(0, 23) + dateTime.slice(26));
  if (Number.isNaN(ms))
    throw new KelError('KEL_BAD_VALUE', `date-time: ${quote(dateTime)} is no moment`);
  return BigInt(ms) * 1000n + BigInt(dateTime.slice(23, 26));
}
