/** The lines of a UAPI reply, read in place: a secret goes from the bytes to a `Secret` without a string of it. */
import { Secret, secretBytes } from '#src/secret';
import { WireGuardError } from './errors.ts';

const MAX_LINE = 128;
const SECRET_LENGTH = 32;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;
const ZERO = 0x30;

export class UapiLines {
  readonly #bytes: Buffer;
  #number = 0;
  #next = 0;
  #lineStart = 0;
  #valueStart = 0;
  #valueEnd = 0;

  /** Key of the current line. */
  key = '';

  /** @param bytes attacker-controlled, read in place */
  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Moves to the next `key=value` line. @throws WIREGUARD_UAPI_MALFORMED when there is none */
  advance(): void {
    this.#number++;
    const start = this.#next;
    const end = this.#bytes.indexOf(NEWLINE, start);
    if (end - start > MAX_LINE) throw this.malformed(`at most ${MAX_LINE} characters`);
    let equals = start;
    while (equals < end && this.#bytes[equals] !== EQUALS) equals++;
    if (equals >= end) throw this.malformed('key=value');
    this.#lineStart = start;
    this.key = this.#bytes.toString('latin1', start, equals);
    this.#valueStart = equals + 1;
    this.#valueEnd = end;
    this.#next = end + 1;
  }

  /** Where the current line begins. */
  get lineStart(): number {
    return this.#lineStart;
  }

  /** Of the current line, from 1. */
  get number(): number {
    return this.#number;
  }

  /** Passes over lines that are known: the next {@link advance} reads the line that begins at `at`. @param count of lines from the current one on */
  skipTo(at: number, count: number): void {
    this.#number += count - 1;
    this.#next = at;
  }

  /** The rest of the reply is the empty line at its end. @throws WIREGUARD_UAPI_MALFORMED */
  expectEnd(): void {
    if (this.#next !== this.#bytes.length - 1 || this.#bytes[this.#next] !== NEWLINE)
      throw this.malformed('an empty line at the end');
  }

  text(): string {
    return this.#bytes.toString('latin1', this.#valueStart, this.#valueEnd);
  }

  /** 32 bytes from 64 hex digits. */
  secret(): Secret {
    if (this.#valueEnd - this.#valueStart !== 2 * SECRET_LENGTH)
      throw this.malformed('64 hex digits');
    const bytes = secretBytes(SECRET_LENGTH);
    for (let i = 0; i < SECRET_LENGTH; i++) {
      const at = this.#valueStart + 2 * i;
      bytes[i] = (this.#digit(at) << 4) | this.#digit(at + 1);
    }
    return Secret.take(bytes);
  }

  /** Decimal without leading zeros, at most `most`, which is less than 10^15. */
  integer(most: number): number {
    const length = this.#valueEnd - this.#valueStart;
    let value = 0;
    for (let at = this.#valueStart; at < this.#valueEnd; at++)
      value = 10 * value + this.#decimal(at);
    if (length === 0 || length > 15) throw this.malformed('a decimal number');
    if (length > 1 && this.#bytes[this.#valueStart] === ZERO)
      throw this.malformed('a number without leading zeros');
    if (value > most) throw this.malformed(`at most ${most}`);
    return value;
  }

  /** Unsigned 64 bits. */
  counter(): bigint {
    const text = this.text();
    if (!/^(0|[1-9]\d{0,19})$/.test(text)) throw this.malformed('a decimal number');
    const value = BigInt(text);
    if (value >= 1n << 64n) throw this.malformed('64 bits');
    return value;
  }

  /** Names the line and its key, never the value. */
  malformed(expected: string): WireGuardError {
    const key = /^[a-z_]{1,32}$/.test(this.key) ? this.key : 'unknown key';
    return new WireGuardError(
      'WIREGUARD_UAPI_MALFORMED',
      `UAPI reply, line ${this.#number} (${key}): expected ${expected}`,
    );
  }

  #decimal(at: number): number {
    const digit = (this.#bytes[at] as number) - ZERO;
    if (digit < 0 || digit > 9) throw this.malformed('a decimal number');
    return digit;
  }

  #digit(at: number): number {
    const code = this.#bytes[at] as number;
    if (code >= ZERO && code <= 0x39) return code - ZERO;
    if (code >= 0x61 && code <= 0x66) return code - 0x57;
    throw this.malformed('lower-case hex digits');
  }
}
