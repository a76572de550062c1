/** Changes streams of key events: blindly, by parts, and so that sizes fit again and the reader looks further. */
import type { SeededRng } from '../support/doubles/seeded-rng.ts';

/** Longest input that is made, in bytes. */
const MAX_LENGTH = 8 * 1024;
const TOKENS = [
  '-AAB',
  '-BAB',
  '-CAB',
  '-FAB',
  '-GAB',
  '-VAt',
  '-0VAAAAt',
  '-_AAABAA',
  '"icp"',
  '"rot"',
  '"s":"0"',
  '[]',
  '{}',
  '"1/2"',
  '0A',
  '\u00f8\u0000\u0001',
  '\u00a0',
  '\u0080',
  '\u00b9\u00ff\u00ff',
  'KERI10JSON',
  'KERI10CBOR',
  'KERI10MGPK',
].map((token) => Buffer.from(token, 'latin1'));

export class Mutator {
  readonly #rng: SeededRng;

  constructor(rng: SeededRng) {
    this.#rng = rng;
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.#below(choices.length)] as T;
  }

  /** @param input not changed  @param other what may be spliced in */
  mutate(input: Uint8Array, other: Uint8Array): Uint8Array {
    let bytes: Buffer = Buffer.from(input);
    for (let left = 1 + this.#below(4); left > 0; left--) bytes = this.#change(bytes, other);
    if (this.#below(3) > 0) bytes = withSizes(bytes);
    return bytes.subarray(0, MAX_LENGTH);
  }

  #change(bytes: Buffer, other: Uint8Array): Buffer {
    const at = this.#below(bytes.length + 1);
    const length = Math.min(1 + this.#below(this.pick([4, 40, 400])), bytes.length - at);
    const [head, cut, tail] = [
      bytes.subarray(0, at),
      bytes.subarray(at, at + length),
      bytes.subarray(at + length),
    ];
    switch (this.#below(7)) {
      case 0:
        if (at < bytes.length) bytes[at] = (bytes[at] ?? 0) ^ (1 << this.#below(8));
        return bytes;
      case 1:
        if (at < bytes.length) bytes[at] = this.#below(256);
        return bytes;
      case 2:
        return Buffer.concat([head, tail]);
      case 3:
        return Buffer.concat([head, cut, cut, tail]);
      case 4:
        return Buffer.concat([head, this.pick(TOKENS), cut, tail]);
      case 5:
        return Buffer.concat([head, this.pick(TOKENS), tail]);
      default: {
        const from = this.#below(other.length + 1);
        return Buffer.concat([head, other.subarray(from, from + 1 + this.#below(400)), tail]);
      }
    }
  }

  #below(limit: number): number {
    return Math.floor(this.#rng.next() * limit);
  }
}

const VERSION = /KERI10(JSON|CBOR|MGPK)[0-9a-f]{6}_/g;

/** JSON bodies get the size that their closing brace gives them. */
function withSizes(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  const sized = text.replace(VERSION, (version: string, kind: string, at: number) => {
    if (kind !== 'JSON') return version;
    const end = text.indexOf('}-', at);
    const size = (end < 0 ? text.length : end + 1) - (at - 6);
    return `KERI10JSON${Math.max(0, size).toString(16).padStart(6, '0')}_`;
  });
  return Buffer.from(sized, 'latin1');
}
