/**
 * Schemas of record values: each reads what the CBOR decoder gives and writes what the encoder takes, in
 * exactly one form. Every list and string has a bound.
 */
import { isIPv4, isIPv6 } from 'node:net';
import { parseDateTime } from '#src/clock';
import { RecordError } from './errors.ts';

export interface FieldSchema<T> {
  /** @param at path of the value, for the error  @throws RECORD_BAD_FIELD */
  parse(value: unknown, at: string): T;
  /** The value as the CBOR encoder takes it: maps as `Map` in wire order. Not checked: parse the result. */
  wire(value: T): unknown;
}

/** Maps decode with string keys in wire order. */
export type WireMap = ReadonlyMap<string, unknown>;

/** Largest integer of a record: what CBOR encoders agree on as an integer of at most 4 bytes. */
const MAX_INTEGER = 0xffff_ffff;

export function integer(min = 0, max = MAX_INTEGER): FieldSchema<number> {
  return leaf((value, at) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max) {
      throw badField(at, `an integer from ${min} to ${max}`, value);
    }
    return value;
  });
}

export const boolean: FieldSchema<boolean> = leaf((value, at) => {
  if (typeof value !== 'boolean') throw badField(at, 'true or false', value);
  return value;
});

/** Text of `min` to `max` UTF-16 units that is well-formed Unicode without control characters. */
export function text(min: number, max: number, pattern?: RegExp): FieldSchema<string> {
  return leaf((value, at) => {
    if (typeof value !== 'string' || value.length < min || value.length > max) {
      throw badField(at, `text of ${min} to ${max} characters`, value);
    }
    if (!value.isWellFormed() || /\p{Cc}/u.test(value)) {
      throw badField(at, 'text without control characters', value);
    }
    if (pattern !== undefined && !pattern.test(value)) {
      throw badField(at, `text like ${pattern.source}`, value);
    }
    return value;
  });
}

export function checkedText(
  max: number,
  what: string,
  isValid: (value: string) => boolean,
): FieldSchema<string> {
  const bounded = text(1, max);
  return leaf((value, at) => {
    const string = bounded.parse(value, at);
    if (!isValid(string)) throw badField(at, what, value);
    return string;
  });
}

/** Text that a guard of the field's own type accepts. */
export function textOf<T extends string>(
  what: string,
  isValid: (value: string) => value is T,
): FieldSchema<T> {
  return leaf((value, at) => {
    if (typeof value !== 'string' || value.length > 256 || !isValid(value)) {
      throw badField(at, what, value);
    }
    return value;
  });
}

export function oneOf<const T extends string>(...values: readonly T[]): FieldSchema<T> {
  return leaf((value, at) => {
    if (!values.includes(value as T)) throw badField(at, `one of ${values.join(', ')}`, value);
    return value as T;
  });
}

/** `192.0.2.1:51820`, `[2001:db8::1]:51820` or `host.example:51820`. */
export function isHostAndPort(value: string): boolean {
  const split = value.lastIndexOf(':');
  const host = value.slice(0, split);
  const port = value.slice(split + 1);
  if (split < 1 || !/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65_535) return false;
  if (host.startsWith('['))
    return host.endsWith(']') && !host.includes('%') && isIPv6(host.slice(1, -1));
  return (
    isIPv4(host) ||
    /^(?=.{1,253}$)(?=.*[a-z])[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i.test(
      host,
    )
  );
}

/** Date-time in the form of `formatDateTime`. */
export const dateTime: FieldSchema<string> = leaf((value, at) => {
  if (typeof value !== 'string' || parseDateTime(value) === undefined) {
    throw badField(at, 'a date-time YYYY-MM-DDTHH:MM:SS.ffffff+00:00', value);
  }
  return value;
});

export function bytes(length: number): FieldSchema<Uint8Array> {
  return {
    parse(value, at) {
      if (!(value instanceof Uint8Array) || value.length !== length) {
        throw badField(at, `a byte string of ${length} bytes`, value);
      }
      return new Uint8Array(value);
    },
    wire: (value) => value,
  };
}

export function list<T>(item: FieldSchema<T>, min: number, max: number): FieldSchema<readonly T[]> {
  return {
    parse(value, at) {
      if (!Array.isArray(value) || value.length < min || value.length > max) {
        throw badField(at, `a list of ${min} to ${max} entries`, value);
      }
      return value.map((entry, index) => item.parse(entry, `${at}[${index}]`));
    },
    wire: (value) => value.map((entry) => item.wire(entry)),
  };
}

export type MapSchemas<T> = { readonly [K in keyof T & string]: FieldSchema<T[K]> };

/** A map with exactly these keys in this order. */
export function map<T extends object>(fields: MapSchemas<T>): FieldSchema<T> {
  const entries = Object.entries(fields) as [keyof T & string, FieldSchema<unknown>][];
  const names = entries.map(([name]) => name).join(' ');
  return {
    parse(value, at) {
      if (!(value instanceof Map) || !sameNames([...value.keys()], entries)) {
        throw badField(at, `a map with the fields ${names}`, value);
      }
      const prefix = at === '' ? '' : `${at}.`;
      return Object.fromEntries(
        entries.map(([name, field]) => [name, field.parse(value.get(name), prefix + name)]),
      ) as T;
    },
    wire(value) {
      const extra = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
      if (extra !== undefined) throw badField(extra, `only the fields ${names}`, extra);
      return new Map(entries.map(([name, field]) => [name, field.wire(value[name])]));
    },
  };
}

/** `schema`, and then what it cannot say about one field alone; `refuse` returns the broken rule. */
export function checked<T>(
  schema: FieldSchema<T>,
  refuse: (value: T) => string | undefined,
): FieldSchema<T> {
  return {
    parse(value, at) {
      const parsed = schema.parse(value, at);
      const rule = refuse(parsed);
      if (rule !== undefined) throw badField(at, rule, value);
      return parsed;
    },
    wire: schema.wire,
  };
}

function leaf<T>(parse: FieldSchema<T>['parse']): FieldSchema<T> {
  return { parse, wire: (value) => value };
}

/** A broken rule, for schemas elsewhere. */
export function badField(at: string, expected: string, got: unknown): RecordError {
  const name = at === '' ? 'record' : `field ${at}`;
  return new RecordError('RECORD_BAD_FIELD', `${name}: expected ${expected}, got ${show(got)}`, {
    fields: { field: at },
  });
}

function sameNames(names: readonly unknown[], entries: readonly [string, unknown][]): boolean {
  return names.length === entries.length && entries.every(([name], at) => name === names[at]);
}

/** Short and printable whatever the sender put there. */
function show(value: unknown): string {
  if (typeof value === 'string') {
    return value.length <= 64 ? JSON.stringify(value) : `text of ${value.length} characters`;
  }
  if (value instanceof Uint8Array) return `${value.length} bytes`;
  if (Array.isArray(value)) return `a list of ${value.length} entries`;
  if (value instanceof Map) return `a map with ${value.size} fields`;
  return typeof value === 'object' || typeof value === 'function' ? typeof value : String(value);
}

/**
 * A set, which has one form: in ascending order, each once.
 * @param what the entries are, for the message
 */
export function ascending<T extends string | number>(
  schema: FieldSchema<readonly T[]>,
  what = 'entries',
): FieldSchema<readonly T[]> {
  return checked(schema, (entries) =>
    entries.every((entry, at) => at === 0 || entry > (entries[at - 1] as T))
      ? undefined
      : `${what} in ascending order, each once`,
  );
}

export function isUnique(values: readonly string[]): boolean {
  return new Set(values).size === values.length;
}
