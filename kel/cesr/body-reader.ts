/** What the decoders of binary bodies share: their errors, their bounds, and that a body is a map. */
import { KelError } from '#kel/errors';
import { ValueReader } from '#src/value-reader';
import { MAX_BODY_DEPTH } from './body-value.ts';

/** @param kind named in errors, which are KEL_BAD_BODY */
export function bodyReader(
  bytes: Uint8Array,
  kind: string,
  maxDepth = MAX_BODY_DEPTH,
): ValueReader {
  return new ValueReader(bytes, {
    maxDepth,
    slicesTexts: true,
    error: (what, at) => new KelError('KEL_BAD_BODY', `${kind} body, byte ${at}: ${what}`),
  });
}

/**
 * Reads all there is, which is a map. @throws KEL_BAD_BODY
 * @typeParam V what `read` lets through
 */
export function wholeMap<V>(
  reader: ValueReader,
  read: (reader: ValueReader) => unknown,
): ReadonlyMap<string, V> {
  const value = read(reader);
  if (value instanceof Map) return value;
  throw reader.fault('expected a map');
}
