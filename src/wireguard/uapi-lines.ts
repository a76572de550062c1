/** The lines of a UAPI reply, read in place: a secret goes from the bytes to a `Secret` without a string of it. */
import { Secret } from '#src/secret';
import { WireGuardError } from './errors.ts';

const MAX_LINE = 128;
const SECRET_LENGTH = 32;
const NEWLINE = 0x0a;
const EQUALS = 0x3d;

export class UapiLines {
  readonly #bytes: Buffer;
  #number = 0;
  #next = 0;
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
    const end = this.#bytes.indexOf(NEWLINE, this.#next);
    const equals = this.#bytes.indexOf(EQUALS, this.#next);
    if (end < 0 || equals < 0 || equals > end) throw this.malformed('key=value');
    if (end - this.#next > MAX_LINE) throw this.malformed(`at most ${MAX_LINE} characters`);
    this.key = this.#bytes.toString('latin1', this.#next, equals);
    this.#valueStart = equals + 1;
    this.#valueEnd = end;
    this.#next = end + 1;
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
    const bytes = new Uint8Array(SECRET_LENGTH);
    for (let i = 0; i < SECRET_LENGTH; i++) {
      const at = this.#valueStart + 2 * i;
      bytes[i] = (this.#digit(at) << 4) | this.#digit(at + 1);
    }
    return Secret.take(bytes);
  }

  /** Decimal without leading zeros, at most `most`. */
  integer(most: number): number {
    const value = this.#decimal();
    if (value > BigInt(most)) throw this.malformed(`at most ${most}`);
    return Number(value);
  }

  /** Unsigned 64 bits. */
  counter(): bigint {
    const value = this.#decimal();
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

  #decimal(): bigint {
    const text = this.text();
    if (!/^(0|[1-9]\d{0,19})$/.test(text)) throw this.malformed('a decimal number');
    return BigInt(text);
  }

  #digit(at: number): number {
    const code = this.#bytes[at] as number;
    if (code >= 0x30 && code <= 0x39) return code - 0x30;
    if (code >= 0x61 && code <= 0x66) return code - 0x57;
    throw this.malformed('lower-case hex digits');
  }
}
