/** Reading decoded CBOR as the shape that a format says; whatever differs is refused with its place. */
import type { Aid, Said } from '#kel/identifiers';
import { isAid, isSaid } from '#kel/record/qualified';
import type { CborValue } from '#src/cbor';

/** Thrown by the readers below; each format turns it into its own error. */
export class ShapeError extends Error {}

export function asInteger(value: CborValue | undefined, at: string): number {
  if (typeof value === 'number' && value >= 0) return value;
  throw new ShapeError(`${at}: expected a number from 0`);
}

export function asText(value: CborValue | undefined, at: string): string {
  if (typeof value === 'string') return value;
  throw new ShapeError(`${at}: expected text`);
}

/** Parsed where it is read: nothing else than an AID ever stands where one is shown. */
export function asAid(value: CborValue | undefined, at: string): Aid {
  const text = asText(value, at);
  if (isAid(text)) return text;
  throw new ShapeError(`${at}: expected an AID`);
}

export function asSaid(value: CborValue | undefined, at: string): Said {
  const text = asText(value, at);
  if (isSaid(text)) return text;
  throw new ShapeError(`${at}: expected a SAID`);
}

/** @param length in bytes; any when left out */
export function asBytes(value: CborValue | undefined, at: string, length?: number): Uint8Array {
  if (value instanceof Uint8Array && (length === undefined || value.length === length))
    return value;
  throw new ShapeError(`${at}: expected ${length ?? 'any number of'} bytes`);
}

export function asList(
  value: CborValue | undefined,
  at: string,
  length?: number,
): readonly CborValue[] {
  if (Array.isArray(value) && (length === undefined || value.length === length)) return value;
  throw new ShapeError(`${at}: expected a list of ${length ?? 'any number of'} entries`);
}

export function asMap(
  value: CborValue | undefined,
  at: string,
  ...keys: readonly string[]
): ReadonlyMap<string, CborValue> {
  if (value instanceof Map && value.size === keys.length && keys.every((key) => value.has(key)))
    return value;
  throw new ShapeError(`${at}: expected a map of ${keys.join(', ')}`);
}
