/**
 * JSON in the one form that KERI hashes: compact, fields in order, only the escapes that must be.
 * Node's parser and formatter do the work; what they cannot carry (integer-like keys out of order,
 * integers beyond 2^53) is read again by a small strict parser.
 */
import { KelError } from '#kel/errors';
import { quote } from '#kel/quote';
import { NodeBudget } from '#src/node-budget';
import { type BodyMap, type BodyValue, MAX_BODY_DEPTH } from './body-value.ts';

export function encodeJson(value: BodyValue): string {
  if (value instanceof Map) {
    return `{${[...value].map(([key, item]) => `${JSON.stringify(key)}:${encodeJson(item)}`).join(',')}}`;
  }
  if (Array.isArray(value)) return `[${value.map(encodeJson).join(',')}]`;
  if (typeof value === 'bigint') return value.toString();
  return JSON.stringify(value);
}

/** @throws KEL_BAD_BODY unless `text` is exactly what {@link encodeJson} writes for a map */
export function decodeJson(text: string): BodyMap {
  expectRoom(text);
  const value = decodeByEngine(text) ?? new StrictJson(text).value();
  if (!(value instanceof Map)) throw new KelError('KEL_BAD_BODY', 'JSON body: expected a map');
  return value;
}

/** The engine's parser builds before anybody can count, so the text is counted first: what opens, and what separates. */
function expectRoom(text: string): void {
  const budget = new NodeBudget(text.length);
  let isInString = false;
  for (let at = 0; at < text.length; at++) {
    const unit = text.charCodeAt(at);
    if (unit === QUOTE) isInString = !isInString;
    else if (isInString) at += unit === BACKSLASH ? 1 : 0;
    else if (!takes(budget, unit))
      throw new KelError(
        'KEL_BAD_BODY',
        `JSON body, character ${at}: more values than ${text.length} characters may hold`,
      );
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;

const LIST = 0x5b;
const MAP = 0x7b;

/** One value for each separator and each opening bracket: as many as there are values, or a few more. */
function takes(budget: NodeBudget, unit: number): boolean {
  if (unit === COMMA || unit === COLON) return budget.takeValue();
  return unit !== LIST && unit !== MAP ? true : budget.takeValue() && budget.takeContainer(0);
}

/** undefined when the engine's round trip changes the text: the strict parser then says what is wrong, or reads it. */
function decodeByEngine(text: string): BodyValue | undefined {
  try {
    const value: unknown = JSON.parse(text);
    const mapped = toBodyValue(value, 0);
    return mapped !== undefined && JSON.stringify(value) === text ? mapped : undefined;
  } catch {
    return undefined;
  }
}

function toBodyValue(value: unknown, depth: number): BodyValue | undefined {
  if (typeof value === 'string') return value.isWellFormed() ? value : undefined;
  if (typeof value === 'number')
    return Number.isInteger(value) && !Number.isSafeInteger(value) ? undefined : value;
  if (typeof value === 'boolean' || value === null) return value;
  if (depth >= MAX_BODY_DEPTH) return undefined;
  if (Array.isArray(value)) {
    const list: BodyValue[] = [];
    for (const item of value) {
      const mapped = toBodyValue(item, depth + 1);
      if (mapped === undefined) return undefined;
      list.push(mapped);
    }
    return list;
  }
  const map = new Map<string, BodyValue>();
  const source = value as Record<string, unknown>;
  for (const key of Object.keys(source)) {
    const mapped = toBodyValue(source[key], depth + 1);
    if (mapped === undefined || !key.isWellFormed()) return undefined;
    map.set(key, mapped);
  }
  return map;
}

const NUMBER = /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
const STRING = /"[^"\\]*(?:\\.[^"\\]*)*"/y;

function isInexact(number: number): boolean {
  return !Number.isFinite(number) || (Number.isInteger(number) && !Number.isSafeInteger(number));
}

class StrictJson {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  value(): BodyValue {
    const value = this.#read(0);
    if (this.#at !== this.#text.length) throw this.#fault('more behind the map');
    return value;
  }

  #read(depth: number): BodyValue {
    if (depth > MAX_BODY_DEPTH) throw this.#fault(`nested deeper than ${MAX_BODY_DEPTH}`);
    const first = this.#text.charAt(this.#at);
    if (first === '{') return this.#map(depth);
    if (first === '[') return this.#list(depth);
    if (first === '"') return this.#string();
    for (const [word, value] of [
      ['true', true],
      ['false', false],
      ['null', null],
    ] as const) {
      if (this.#text.startsWith(word, this.#at)) {
        this.#at += word.length;
        return value;
      }
    }
    return this.#number();
  }

  #map(depth: number): BodyMap {
    const map = new Map<string, BodyValue>();
    this.#at++;
    while (!this.#take('}')) {
      if (map.size > 0) this.#expect(',');
      const key = this.#string();
      this.#expect(':');
      if (map.has(key)) throw this.#fault(`field ${quote(key)} twice`);
      map.set(key, this.#read(depth + 1));
    }
    return map;
  }

  #list(depth: number): BodyValue[] {
    const list: BodyValue[] = [];
    this.#at++;
    while (!this.#take(']')) {
      if (list.length > 0) this.#expect(',');
      list.push(this.#read(depth + 1));
    }
    return list;
  }

  #string(): string {
    const text = this.#match(STRING, 'a string');
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      throw this.#fault('a malformed string');
    }
    if (typeof value !== 'string' || !value.isWellFormed() || JSON.stringify(value) !== text) {
      throw this.#fault('a string that is not in its shortest form');
    }
    return value;
  }

  #number(): BodyValue {
    const text = this.#match(NUMBER, 'a value');
    const number = Number(text);
    if (Number.isSafeInteger(number) || !/^-?[0-9]+$/.test(text)) {
      if (isInexact(number) || JSON.stringify(number) !== text)
        throw this.#fault(`number ${text} is not in its shortest form`);
      return number;
    }
    return BigInt(text);
  }

  #match(pattern: RegExp, what: string): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) throw this.#fault(`expected ${what}`);
    this.#at += match[0].length;
    return match[0];
  }

  #take(character: string): boolean {
    if (this.#text.charAt(this.#at) !== character) return false;
    this.#at++;
    return true;
  }

  #expect(character: string): void {
    if (!this.#take(character))
      throw this.#fault(`expected ${JSON.stringify(character)} and nothing between`);
  }

  #fault(what: string): KelError {
    return new KelError('KEL_BAD_BODY', `JSON body, character ${this.#at}: ${what}`);
  }
}
