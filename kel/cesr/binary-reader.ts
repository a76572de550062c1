/** What the CBOR and MGPK decoders share: a bounded cursor over the bytes of one body, and what all maps and lists are. */
import { isUtf8 } from 'node:buffer';
import { KelError } from '#kel/errors';
import { NodeBudget } from '#src/node-budget';
import { asBuffer } from './base64.ts';
import { type BodyMap, type BodyValue, MAX_BODY_DEPTH } from './body-value.ts';

export class BinaryReader {
  at = 0;
  readonly bytes: Buffer;
  readonly #kind: string;
  /** Every byte of the body as a character: substrings of it are cheap. */
  readonly #characters: string;
  readonly #budget: NodeBudget;

  constructor(bytes: Uint8Array, kind: string) {
    this.bytes = asBuffer(bytes);
    this.#kind = kind;
    this.#characters = this.bytes.toString('latin1');
    this.#budget = new NodeBudget(bytes.length);
  }

  get remaining(): number {
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

  float64(): number {
    this.#need(8);
    const value = this.bytes.readDoubleBE(this.at);
    this.at += 8;
    if (!Number.isFinite(value) || Number.isInteger(value))
      throw this.fault(`number ${value} has another form`);
    return value;
  }

  text(length: number): string {
    this.#need(length);
    const from = this.at;
    this.at += length;
    if (this.#isAscii(from, this.at)) return this.#characters.slice(from, this.at);
    const slice = this.bytes.subarray(from, this.at);
    if (!isUtf8(slice)) throw this.fault('text is not UTF-8');
    return slice.toString('utf8');
  }

  /** Takes one value of any type, before it is made. */
  takeValue(): void {
    if (!this.#budget.takeValue()) throw this.#tooMany();
  }

  /** Takes the value just taken as a list or map, before that is made. Each item takes at least one byte: a larger count cannot be met. @param perItem 2 for a map */
  takeContainer(count: number, perItem: 1 | 2): void {
    if (count * perItem > this.remaining)
      throw this.fault(`claims ${count} items with ${this.remaining} bytes left`);
    if (!this.#budget.takeContainer(count * perItem)) throw this.#tooMany();
  }

  fault(what: string): KelError {
    return new KelError('KEL_BAD_BODY', `${this.#kind} body, byte ${this.at}: ${what}`);
  }

  #tooMany(): KelError {
    return this.fault(`more values than ${this.bytes.length} bytes may hold`);
  }

  #isAscii(from: number, to: number): boolean {
    let seen = 0;
    for (let at = from; at < to; at++) seen |= this.bytes[at] as number;
    return seen < 0x80;
  }

  #need(length: number): void {
    if (length > this.remaining) throw this.fault(`needs ${length} bytes, ${this.remaining} left`);
  }
}

/** Reads one value of any type; `depth` counts the maps and lists around it. */
type ReadValue = (reader: BinaryReader, depth: number) => BodyValue;

/** The map that is all of `bytes`. @throws KEL_BAD_BODY */
export function readBody(bytes: Uint8Array, kind: string, read: ReadValue): BodyMap {
  const reader = new BinaryReader(bytes, kind);
  const value = read(reader, 0);
  if (reader.remaining > 0) throw reader.fault('more behind the map');
  if (!(value instanceof Map)) throw reader.fault('expected a map');
  return value;
}

/** Before each value. @throws KEL_BAD_BODY */
export function expectRoom(reader: BinaryReader, depth: number): void {
  reader.takeValue();
  if (depth > MAX_BODY_DEPTH) throw reader.fault(`nested deeper than ${MAX_BODY_DEPTH}`);
}

/** Items of a list at `depth`, behind its head. */
export function readList(
  reader: BinaryReader,
  length: number,
  depth: number,
  read: ReadValue,
): BodyValue[] {
  reader.takeContainer(length, 1);
  const list: BodyValue[] = [];
  for (let i = 0; i < length; i++) list.push(read(reader, depth + 1));
  return list;
}

/** Fields of a map at `depth`, behind its head. */
export function readMap(
  reader: BinaryReader,
  length: number,
  depth: number,
  read: ReadValue,
): BodyMap {
  reader.takeContainer(length, 2);
  const map = new Map<string, BodyValue>();
  for (let i = 0; i < length; i++) {
    const key = read(reader, depth + 1);
    if (typeof key !== 'string') throw reader.fault('a label that is not text');
    map.set(key, read(reader, depth + 1));
  }
  if (map.size !== length) throw reader.fault('a label twice');
  return map;
}

/** Integers beyond 2^53 − 1 stay as they are. */
export function narrow(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}
