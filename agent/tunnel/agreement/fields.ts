/**
 * Reading back what `lengthPrefixed` wrote: each field is a 4-byte big-endian length and that many bytes.
 * Lengths are checked before anything is copied, so what a stranger announces costs nothing.
 */
import { ByteReader } from '#src/byte-reader';
import { AgreementError, type AgreementErrorCode } from './errors.ts';

export class FieldReader {
  readonly #reader: ByteReader;
  readonly #what: string;
  readonly #code: AgreementErrorCode;
  /** The field that is read. */
  #name = '';

  /** @param what names the whole in errors  @param code of every error thrown here */
  constructor(bytes: Uint8Array, what: string, code: AgreementErrorCode = 'AGREEMENT_BAD_MESSAGE') {
    this.#reader = new ByteReader(bytes, (reason) => this.fail(`${this.#name}: ${reason}`));
    this.#what = what;
    this.#code = code;
  }

  /** Bytes read so far. */
  get at(): number {
    return this.#reader.at;
  }

  get isAtEnd(): boolean {
    return this.#reader.left === 0;
  }

  /** One byte, without prefix, that must have this value. */
  constant(name: string, value: number): void {
    this.#name = name;
    const got = this.#reader.uint8();
    if (got !== value) throw this.fail(`${name}: expected ${value}, got ${got}`);
  }

  /** A copy of the next field, of `min` to `max` bytes. */
  bytes(name: string, min: number, max = min): Uint8Array {
    this.#name = name;
    const length = this.#reader.uint32();
    if (length < min || length > max) {
      const expected = min === max ? `${min}` : `${min} to ${max}`;
      throw this.fail(`${name}: expected ${expected} bytes, got ${length}`);
    }
    return this.#reader.bytes(length);
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
    const value = new DataView(this.bytes(name, 8).buffer).getBigUint64(0);
    if (value > BigInt(max)) throw this.fail(`${name}: expected at most ${max}, got ${value}`);
    return Number(value);
  }

  end(): void {
    const { at, left } = this.#reader;
    if (left !== 0) throw this.fail(`expected the end at ${at}, got ${left} bytes more`);
  }

  fail(message: string): AgreementError {
    return new AgreementError(this.#code, `${this.#what}: ${message}`);
  }
}
