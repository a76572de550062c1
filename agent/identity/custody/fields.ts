/** Strict readers for the maps of custody files: exactly the named fields, each of its type. */
import { type CborValue, decodeCbor } from '#src/cbor';
import { MeshError } from '#src/errors';
import { CustodyError } from './errors.ts';

export type CborMap = ReadonlyMap<string, CborValue>;

/**
 * Reads one map with exactly `labels`, whose `type` is `type`.
 * @param max bytes. Throws CUSTODY_MALFORMED
 */
export function readMap(
  bytes: Uint8Array,
  { type, labels, max }: { type: string; labels: readonly string[]; max: number },
): CborMap {
  if (bytes.length > max)
    throw malformed(`expected at most ${max} bytes of ${type}, got ${bytes.length}`);
  let value: CborValue;
  try {
    value = decodeCbor(bytes);
  } catch (cause) {
    if (!(cause instanceof MeshError)) throw cause;
    throw new CustodyError('CUSTODY_MALFORMED', `no ${type}: ${cause.message}`, { cause });
  }
  if (!isMap(value) || value.get('type') !== type)
    throw malformed(`expected ${type}, got ${isMap(value) ? show(value.get('type')) : 'no map'}`);
  return expectLabels(value, ['type', ...labels]);
}

/** Throws CUSTODY_MALFORMED unless the fields are exactly `labels`, in any order: the encoding has one. */
export function expectLabels(value: CborValue | undefined, labels: readonly string[]): CborMap {
  if (!isMap(value)) throw malformed(`expected a map, got ${show(value)}`);
  if (value.size !== labels.length || labels.some((label) => !value.has(label)))
    throw malformed(`expected fields ${labels.join(' ')}, got ${[...value.keys()].join(' ')}`);
  return value;
}

export function textOf(map: CborMap, label: string): string {
  const value = map.get(label);
  if (typeof value !== 'string') throw malformed(`${label}: expected text, got ${show(value)}`);
  return value;
}

/** @param length exact, when given */
export function bytesOf(map: CborMap, label: string, length?: number): Uint8Array {
  const value = map.get(label);
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length))
    throw malformed(`${label}: expected ${length ?? 'some'} bytes, got ${show(value)}`);
  return value;
}

export function numberOf(map: CborMap, label: string): number {
  const value = map.get(label);
  if (typeof value !== 'number' || value < 0)
    throw malformed(`${label}: expected a number, got ${show(value)}`);
  return value;
}

export function listOf(map: CborMap, label: string, max: number): readonly CborValue[] {
  const value = map.get(label);
  if (!isList(value) || value.length > max)
    throw malformed(`${label}: expected a list of at most ${max}, got ${show(value)}`);
  return value;
}

export function byteListOf(map: CborMap, label: string, max: number): readonly Uint8Array[] {
  return listOf(map, label, max).map((item) => {
    if (item instanceof Uint8Array) return item;
    throw malformed(`${label}: expected byte strings, got ${show(item)}`);
  });
}

export function malformed(message: string): CustodyError {
  return new CustodyError('CUSTODY_MALFORMED', message);
}

function isMap(value: CborValue | undefined): value is CborMap {
  return value instanceof Map;
}

function isList(value: CborValue | undefined): value is readonly CborValue[] {
  return Array.isArray(value);
}

function show(value: CborValue | undefined): string {
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length}`;
  return value instanceof Map ? 'a map' : String(value).slice(0, 64);
}
