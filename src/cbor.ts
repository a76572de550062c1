/**
 * Deterministic CBOR (RFC 8949 section 4.2.1) over the few types that Kelmesh's own formats need.
 *
 * The decoder accepts exactly what the encoder emits: shortest lengths, definite sizes, map keys unique and
 * in bytewise order of their encoding, no tags, no floats; within a budget of values, which no own format comes near. Key events
 * do not pass here: their field order is KERI's (`kel/cesr/body.ts`).
 */
import { concatBytes, utf8 } from './bytes.ts';
import { cborOf } from './cbor-reader.ts';
import { type ErrorDetails, type ErrorTable, MeshError } from './errors.ts';
import { ValueReader } from './value-reader.ts';

export type CborValue =
  | number
  | string
  | boolean
  | null
  | Uint8Array
  | readonly CborValue[]
  | ReadonlyMap<string, CborValue>;

/** Nesting that the decoder follows. */
const MAX_DEPTH = 16;

const cborErrors = {
  CBOR_MALFORMED:
    'The bytes are cut short, changed or of another format; get them again from their source',
} as const satisfies ErrorTable;

class CborError extends MeshError<keyof typeof cborErrors> {
  constructor(message: string, details?: ErrorDetails) {
    super('CBOR_MALFORMED', message, cborErrors, details);
  }
}

const UNSIGNED = 0;
const NEGATIVE = 1;
const BYTES = 2;
const TEXT = 3;
const ARRAY = 4;
const MAP = 5;
const FALSE = 0xf4;
const TRUE = 0xf5;
const NULL = 0xf6;

/** Integers must be safe and texts well formed; anything else that does not fit the types is a TypeError. */
export function encodeCbor(value: CborValue): Uint8Array {
  const parts: Uint8Array[] = [];
  write(value, parts);
  return concatBytes(...parts);
}

function write(value: CborValue, parts: Uint8Array[]): void {
  if (typeof value === 'number') {
    if (!Number.isSafeInteger(value)) throw new TypeError(`not a safe integer: ${value}`);
    parts.push(value >= 0 ? head(UNSIGNED, value) : head(NEGATIVE, -1 - value));
  } else if (typeof value === 'string') {
    // A lone surrogate has no UTF-8: it would become another text without a word.
    if (!value.isWellFormed()) throw new TypeError('a text with a lone surrogate');
    const bytes = utf8(value);
    parts.push(head(TEXT, bytes.length), bytes);
  } else if (value === null) {
    parts.push(Uint8Array.of(NULL));
  } else if (typeof value === 'boolean') {
    parts.push(Uint8Array.of(value ? TRUE : FALSE));
  } else if (value instanceof Uint8Array) {
    parts.push(head(BYTES, value.length), value);
  } else if (value instanceof Map) {
    writeMap(value, parts);
  } else if (Array.isArray(value)) {
    parts.push(head(ARRAY, value.length));
    for (const item of value) write(item, parts);
  } else {
    throw new TypeError(`no value of these types: ${typeof value}`);
  }
}

function writeMap(map: ReadonlyMap<string, CborValue>, parts: Uint8Array[]): void {
  const entries = [...map].map(([key, value]) => ({ key: encodeCbor(key), value }));
  entries.sort((a, b) => Buffer.compare(a.key, b.key));
  parts.push(head(MAP, entries.length));
  for (const { key, value } of entries) {
    parts.push(key);
    write(value, parts);
  }
}

function head(major: number, argument: number): Uint8Array {
  const type = major << 5;
  if (argument < 24) return Uint8Array.of(type | argument);
  if (argument < 0x100) return Uint8Array.of(type | 24, argument);
  if (argument < 0x1_0000) return Uint8Array.of(type | 25, argument >> 8, argument & 0xff);
  const wide = argument > 0xffff_ffff;
  const out = new Uint8Array(wide ? 9 : 5);
  out[0] = type | (wide ? 27 : 26);
  const view = new DataView(out.buffer);
  if (wide) view.setBigUint64(1, BigInt(argument));
  else view.setUint32(1, argument);
  return out;
}

export interface DecodeOptions {
  /** Byte strings refer to `bytes`, which nobody changes, instead of being copies: for what is large. */
  readonly sharesBytes?: boolean;
}

const reading = { labels: 'sorted', integers: 'safe', simple: 'words' } as const;
const readCopying = cborOf({ ...reading, bytes: 'copied' });
const readSharing = cborOf({ ...reading, bytes: 'shared' });

/** Throws CBOR_MALFORMED. Byte strings are copies unless they are to be shared. */
export function decodeCbor(
  bytes: Uint8Array,
  { sharesBytes = false }: DecodeOptions = {},
): CborValue {
  const reader = new ValueReader(bytes, {
    maxDepth: MAX_DEPTH,
    error: (what, at) => new CborError(`${what} at ${at}`),
  });
  // No BigInt: every integer is safe.
  return (sharesBytes ? readSharing(reader) : readCopying(reader)) as CborValue;
}
