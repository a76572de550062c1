/** What the decoders of binary values share: a bounded cursor over the bytes of one message, and what all lists and maps are. */
import { isUtf8 } from 'node:buffer';
import { NodeBudget } from './node-budget.ts';

export interface ValueReaderOptions {
  /** Nesting that is followed. */
  readonly maxDepth: number;
  /**
   * Texts are slices of one text of all the bytes, which is fast; each keeps the whole alive, so that it is for short messages that are
   * kept whole or not at all. @default false
   */
  readonly slicesTexts?: boolean;
  /** What to throw. @param at byte at which `what` was found */
  readonly error: (what: string, at: number) => Error;
}

export class ValueReader {
  at = 0;
  readonly bytes: Buffer;
  /** Every byte as a character, where texts are slices of it. */
  readonly #characters: string | undefined;
  readonly #budget: NodeBudget;
  readonly #maxDepth: number;
  readonly #error: ValueReaderOptions['error'];

  constructor(bytes: Uint8Array, { maxDepth, slicesTexts, error }: ValueReaderOptions) {
    this.bytes = Buffer.isBuffer(bytes)
      ? bytes
      : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#characters = slicesTexts === true ? this.bytes.toString('latin1') : undefined;
    this.#budget = new NodeBudget(bytes.length);
    this.#maxDepth = maxDepth;
    this.#error = error;
  }

  get left(): number {
    return this.bytes.length - this.at;
  }

  byte(): number {
    const byte = this.bytes[this.at];
    if (byte === undefined) throw this.fault('ends inside a value');
    this.at++;
    return byte;
  }

  /** Big-endian, 1, 2 or 4 bytes. */
  uint(length: 1 | 2 | 4): number {
    this.#need(length);
    const value = this.bytes.readUIntBE(this.at, length);
    this.at += length;
    return value;
  }

  uint64(): bigint {
    this.#need(8);
    const value = this.bytes.readBigUInt64BE(this.at);
    this.at += 8;
    return value;
  }

  /** A number that no integer form could say: finite, with a fraction. */
  float64(): number {
    this.#need(8);
    const value = this.bytes.readDoubleBE(this.at);
    this.at += 8;
    if (!Number.isFinite(value) || Number.isInteger(value))
      throw this.fault(`number ${value} has another form`);
    return value;
  }

  /** A view of the bytes, no copy. */
  view(length: number): Uint8Array {
    this.#need(length);
    this.at += length;
    return this.bytes.subarray(this.at - length, this.at);
  }

  /** UTF-8; a byte order mark stays, so that two texts stay two. */
  text(length: number): string {
    this.#need(length);
    const from = this.at;
    this.at += length;
    if (this.#isAscii(from, this.at))
      return this.#characters === undefined
        ? this.bytes.toString('latin1', from, this.at)
        : this.#characters.slice(from, this.at);
    const slice = this.bytes.subarray(from, this.at);
    if (!isUtf8(slice)) throw this.fault('text is not UTF-8');
    return slice.toString('utf8');
  }

  /** Takes one value of any type, before it is made. @param depth lists and maps around it */
  takeValue(depth: number): void {
    if (!this.#budget.takeValue()) throw this.#tooMany();
    if (depth > this.#maxDepth) throw this.fault(`nested deeper than ${this.#maxDepth}`);
  }

  /** Takes the value just taken as a list or map, before that is made. Each item takes at least one byte: a larger count cannot be met. @param perItem 2 for a map */
  takeContainer(count: number, perItem: 1 | 2): void {
    if (count * perItem > this.left)
      throw this.fault(`claims ${count} items with ${this.left} bytes left`);
    if (!this.#budget.takeContainer(count * perItem)) throw this.#tooMany();
  }

  fault(what: string): Error {
    return this.#error(what, this.at);
  }

  #tooMany(): Error {
    return this.fault(`more values than ${this.bytes.length} bytes may hold`);
  }

  #isAscii(from: number, to: number): boolean {
    let seen = 0;
    for (let at = from; at < to; at++) seen |= this.bytes[at] as number;
    return seen < 0x80;
  }

  #need(length: number): void {
    if (length > this.left) throw this.fault(`needs ${length} bytes, ${this.left} left`);
  }
}

/** Reads one value of any type; `depth` counts the maps and lists around it. */
export type ReadValue<T> = (reader: ValueReader, depth: number) => T;

/** The one value that is all of the bytes. Throws what the reader's error is. */
export function readWhole<T>(reader: ValueReader, read: ReadValue<T>): T {
  const value = read(reader, 0);
  if (reader.left > 0) throw reader.fault(`${reader.left} bytes more behind the value`);
  return value;
}

/** Items of a list at `depth`, behind its head. */
export function readList<T>(
  reader: ValueReader,
  length: number,
  depth: number,
  read: ReadValue<T>,
): T[] {
  reader.takeContainer(length, 1);
  const list: T[] = [];
  for (let i = 0; i < length; i++) list.push(read(reader, depth + 1));
  return list;
}

/** Fields of a map at `depth`, behind its head; each label is a text, and stands there once. */
export function readMap<T>(
  reader: ValueReader,
  length: number,
  depth: number,
  read: ReadValue<T>,
): Map<string, T> {
  reader.takeContainer(length, 2);
  const map = new Map<string, T>();
  for (let i = 0; i < length; i++) map.set(readLabel(reader, depth, read), read(reader, depth + 1));
  if (map.size !== length) throw reader.fault('a label twice');
  return map;
}

/** As {@link readMap}, with the labels in bytewise order of their encoding. */
export function readSortedMap<T>(
  reader: ValueReader,
  length: number,
  depth: number,
  read: ReadValue<T>,
): Map<string, T> {
  reader.takeContainer(length, 2);
  const map = new Map<string, T>();
  let last = { from: 0, to: 0 };
  for (let i = 0; i < length; i++) {
    const from = reader.at;
    const label = readLabel(reader, depth, read);
    const to = reader.at;
    if (reader.bytes.compare(reader.bytes, last.from, last.to, from, to) <= 0)
      throw reader.fault('labels not in order');
    last = { from, to };
    map.set(label, read(reader, depth + 1));
  }
  return map;
}

function readLabel<T>(reader: ValueReader, depth: number, read: ReadValue<T>): string {
  const label = read(reader, depth + 1);
  if (typeof label !== 'string') throw reader.fault('a label that is not text');
  return label;
}

/** Integers beyond 2^53 − 1 stay as they are. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
