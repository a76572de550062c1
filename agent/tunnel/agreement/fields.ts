/**
 * Reading back what `lengthPrefixed` wrote: each field is a 4-byte big-endian length and that many bytes.
 * Lengths are checked before anything is copied, so what a stranger announces costs nothing.
 */
import { AgreementError, type AgreementErrorCode } from './errors.ts';

const PREFIX_LENGTH = 4;

export class FieldReader {
  readonly #bytes: Uint8Array;
  readonly #what: string;
  readonly #code: AgreementErrorCode;
  #at = 0;

  /** @param what names the whole in errors  @param code of every error thrown here */
  constructor(bytes: Uint8Array, what: string, code: AgreementErrorCode = 'AGREEMENT_BAD_MESSAGE') {
    this.#bytes = bytes;
    this.#what = what;
    this.#code = code;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#at;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** One byte, without prefix, that must have this value. */
  constant(name: string, value: number): void {
    const got = this.#bytes[this.#at];
    if (got !== value) throw this.fail(`${name}: expected ${value}, got ${got ?? 'nothing'}`);
    this.#at += 1;
  }

  /** A copy of the next field, of `min` to `max` bytes. */
  bytes(name: string, min: number, max = min): Uint8Array {
    const left = this.#bytes.length - this.#at;
    if (left < PREFIX_LENGTH) throw this.fail(`${name}: cut short at ${this.#at}`);
    const length = new DataView(this.#bytes.buffer, this.#bytes.byteOffset + this.#at).getUint32(0);
    if (length < min || length > max) {
      const expected = min === max ? `${min}` : `${min} to ${max}`;
      throw this.fail(`${name}: expected ${expected} bytes, got ${length}`);
    }
    if (length > left - PREFIX_LENGTH) throw this.fail(`${name}: cut short at ${this.#at}`);
    const start = this.#at + PREFIX_LENGTH;
    this.#at = start + length;
    return new Uint8Array(this.#bytes.subarray(start, this.#at));
  }

  /** The next field as text, all of it matched by `pattern` (ASCII only). */
  text(name: string, pattern: RegExp, max: number): string {
    const bytes = this.bytes(name, 0, max);
    const text = String.fromCharCode(...bytes);
    if (!pattern.test(text))
      throw this.fail(`${name}: expected ${pattern}, got ${JSON.stringify(text)}`);
    return text;
  }

  /** The next field as an 8-byte big-endian counter, 0 to `max`. */
  counter(name: string, max = Number.MAX_SAFE_INTEGER): number {
    const bytes = this.bytes(name, 8);
    const value = new DataView(bytes.buffer).getBigUint64(0);
    if (value > BigInt(max)) throw this.fail(`${name}: expected at most ${max}, got ${value}`);
    return Number(value);
  }

  end(): void {
    const left = this.#bytes.length - this.#at;
    if (left !== 0) throw this.fail(`expected the end at ${this.#at}, got ${left} bytes more`);
  }

  fail(message: string): AgreementError {
    return new AgreementError(this.#code, `${this.#what}: ${message}`);
  }
}
