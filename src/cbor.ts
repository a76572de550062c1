/**
 * Deterministic CBOR (RFC 8949 section 4.2.1) over the few types that Kelmesh's own formats need.
 *
 * The decoder accepts exactly what the encoder emits: shortest lengths, definite sizes, map keys unique and
 * in bytewise order of their encoding, no tags, no floats; within the {@link NodeBudget}, which no own format comes near. Key events do not pass here: their field order
 * is KERI's (`kel/cesr/body.ts`). Own code because a lenient decoder in front of a stranger would build
 * whatever the bytes announce before a comparison could refuse it.
 */
import { concatBytes, utf8 } from './bytes.ts';
import { type ErrorDetails, type ErrorTable, MeshError } from './errors.ts';
import { NodeBudget } from './node-budget.ts';

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

/** Throws CBOR_MALFORMED. Byte strings are copies unless they are to be shared. */
export function decodeCbor(
  bytes: Uint8Array,
  { sharesBytes = false }: DecodeOptions = {},
): CborValue {
  const reader = new Reader(bytes, sharesBytes);
  const value = reader.read(0);
  if (reader.at !== bytes.length)
    throw new CborError(`${bytes.length - reader.at} bytes after the value at ${reader.at}`);
  return value;
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

class Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #budget: NodeBudget;

  readonly #sharesBytes: boolean;

  constructor(bytes: Uint8Array, sharesBytes: boolean) {
    this.#sharesBytes = sharesBytes;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#budget = new NodeBudget(bytes.length);
  }

  read(depth: number): CborValue {
    if (depth > MAX_DEPTH) throw new CborError(`nested deeper than ${MAX_DEPTH} at ${this.at}`);
    const first = this.#byte();
    if (!this.#budget.takeValue()) throw this.#tooMany();
    if (first === FALSE) return false;
    if (first === TRUE) return true;
    if (first === NULL) return null;
    const argument = this.#argument(first & 0x1f);
    switch (first >> 5) {
      case UNSIGNED:
        return argument;
      case NEGATIVE:
        if (argument === Number.MAX_SAFE_INTEGER)
          throw new CborError(`integer out of range at ${this.at}`);
        return -1 - argument;
      case BYTES:
        // Not `slice`: a Buffer's does not copy.
        return this.#sharesBytes ? this.#take(argument) : new Uint8Array(this.#take(argument));
      case TEXT:
        return this.#text(argument);
      case ARRAY:
        return this.#array(argument, depth);
      case MAP:
        return this.#map(argument, depth);
      default:
        throw new CborError(`type ${first >> 5} is not used here, at ${this.at - 1}`);
    }
  }

  #tooMany(): CborError {
    return new CborError(`more values than ${this.#bytes.length} bytes may hold, at ${this.at}`);
  }

  #byte(): number {
    const byte = this.#bytes[this.at];
    if (byte === undefined) throw new CborError(`cut short at ${this.at}`);
    this.at += 1;
    return byte;
  }

  #take(length: number): Uint8Array {
    if (length > this.#bytes.length - this.at)
      throw new CborError(
        `cut short: ${length} bytes wanted at ${this.at}, ${this.#bytes.length - this.at} left`,
      );
    this.at += length;
    return this.#bytes.subarray(this.at - length, this.at);
  }

  #argument(info: number): number {
    if (info < 24) return info;
    const at = this.at;
    if (info > 27) throw new CborError(`length form ${info} is not used here, at ${at}`);
    const size = 1 << (info - 24);
    this.#take(size);
    const value =
      size === 1
        ? this.#view.getUint8(at)
        : size === 2
          ? this.#view.getUint16(at)
          : size === 4
            ? this.#view.getUint32(at)
            : Number(this.#view.getBigUint64(at));
    const least = size === 1 ? 24 : size === 2 ? 0x100 : size === 4 ? 0x1_0000 : 0x1_0000_0000;
    if (value < least || !Number.isSafeInteger(value))
      throw new CborError(`number not in its shortest form, or too large, at ${at}`);
    return value;
  }

  #text(length: number): string {
    const at = this.at;
    try {
      return decoder.decode(this.#take(length));
    } catch (error) {
      throw error instanceof CborError ? error : new CborError(`text is not UTF-8 at ${at}`);
    }
  }

  #array(length: number, depth: number): readonly CborValue[] {
    if (length > this.#bytes.length - this.at)
      throw new CborError(`list of ${length} does not fit at ${this.at}`);
    if (!this.#budget.takeContainer(length)) throw this.#tooMany();
    const items: CborValue[] = [];
    for (let i = 0; i < length; i++) items.push(this.read(depth + 1));
    return items;
  }

  #map(length: number, depth: number): ReadonlyMap<string, CborValue> {
    if (2 * length > this.#bytes.length - this.at)
      throw new CborError(`map of ${length} does not fit at ${this.at}`);
    if (!this.#budget.takeContainer(2 * length)) throw this.#tooMany();
    const map = new Map<string, CborValue>();
    let last: Uint8Array = new Uint8Array(0);
    for (let i = 0; i < length; i++) {
      const at = this.at;
      const key = this.read(depth + 1);
      const encoded = this.#bytes.subarray(at, this.at);
      if (typeof key !== 'string') throw new CborError(`map key is not a text at ${at}`);
      if (Buffer.compare(last, encoded) >= 0) throw new CborError(`map keys not in order at ${at}`);
      last = encoded;
      map.set(key, this.read(depth + 1));
    }
    return map;
  }
}
