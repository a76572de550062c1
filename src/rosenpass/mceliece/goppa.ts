/**
 * The secret half of a Classic McEliece 460896 key, made ready for decoding: the support and the weights that only the key
 * decides, computed once. ISO/IEC 18033-2 draft of Classic McEliece, 6.2 (control bits) and 5.2 (decoding); nothing but the
 * secret key goes in.
 */
import { wipe } from '../wipe.ts';
import {
  FIELD_BITS,
  FIELD_SIZE,
  invert,
  maskOfZero,
  multiply,
  multiplySlices,
  reverseBits,
  slice,
} from './field.ts';
import {
  CODE_LENGTH,
  CONTROL_BITS_LENGTH,
  GOPPA_LENGTH,
  SYNDROME_BITS,
  WEIGHT,
} from './parameters.ts';

const LANES = 32;
/** Groups of 32 positions: all of them, and those that a received word can have set. */
const CODE_GROUPS = CODE_LENGTH / LANES;
const RECEIVED_GROUPS = SYNDROME_BITS / LANES;
const SYNDROMES = 2 * WEIGHT;

/** A decoder of one secret key; secret as that. */
export class GoppaDecoder implements Disposable {
  /** Support by groups, each 13 words. */
  readonly #support = new Int32Array(CODE_GROUPS * FIELD_BITS);
  /** 1 / g(α)² of the first 1,248 positions, in the same form. */
  readonly #weights = new Int32Array(RECEIVED_GROUPS * FIELD_BITS);

  /** @param goppa 192 bytes, the 96 lower coefficients of g  @param controlBits 12,800 bytes */
  constructor(goppa: Uint8Array, controlBits: Uint8Array) {
    const support = supportOf(controlBits);
    const polynomial = coefficients(goppa);
    const weights = new Uint16Array(SYNDROME_BITS);
    for (let i = 0; i < SYNDROME_BITS; i++) {
      const value = evaluateMonic(polynomial, support[i] as number);
      weights[i] = invert(multiply(value, value));
    }
    for (let group = 0; group < CODE_GROUPS; group++)
      this.#support.set(slice(support, group * LANES), group * FIELD_BITS);
    for (let group = 0; group < RECEIVED_GROUPS; group++)
      this.#weights.set(slice(weights, group * LANES), group * FIELD_BITS);
    wipe(support, polynomial, weights);
  }

  /**
   * The error vector whose syndrome `received` would be if there is one; else some other: the caller compares syndrome and weight.
   * @param received 156 bytes  @param error 576 bytes, written
   */
  decode(received: Uint8Array, error: Uint8Array): void {
    const syndrome = this.#syndrome(received);
    const locator = locatorOf(syndrome);
    this.#roots(locator, error);
    wipe(syndrome, locator);
  }

  /** Σ r_i α_i^j / g(α_i)², j = 0..191, over the positions that can be set. */
  #syndrome(received: Uint8Array): Uint16Array {
    const sums = new Int32Array(SYNDROMES * FIELD_BITS);
    const power = new Int32Array(FIELD_BITS);
    const bits = new DataView(received.buffer, received.byteOffset, received.byteLength);
    for (let group = 0; group < RECEIVED_GROUPS; group++) {
      const mask = bits.getInt32(4 * group, true);
      const at = group * FIELD_BITS;
      for (let k = 0; k < FIELD_BITS; k++) power[k] = (this.#weights[at + k] as number) & mask;
      for (let j = 0; j < SYNDROMES; j++) {
        for (let k = 0; k < FIELD_BITS; k++)
          sums[j * FIELD_BITS + k] = (sums[j * FIELD_BITS + k] as number) ^ (power[k] as number);
        multiplySlices(power, 0, power, 0, this.#support, at);
      }
    }
    const syndrome = new Uint16Array(SYNDROMES);
    for (let j = 0; j < SYNDROMES; j++)
      for (let k = 0; k < FIELD_BITS; k++)
        syndrome[j] = (syndrome[j] as number) | (parity(sums[j * FIELD_BITS + k] as number) << k);
    wipe(sums, power);
    return syndrome;
  }

  /** Where the locator is zero, by Horner's rule at 32 positions at a time. */
  #roots(locator: Uint16Array, error: Uint8Array): void {
    const slices = new Int32Array(locator.length * FIELD_BITS);
    for (let j = 0; j < locator.length; j++)
      for (let k = 0; k < FIELD_BITS; k++)
        slices[j * FIELD_BITS + k] = -(((locator[j] as number) >>> k) & 1);
    const value = new Int32Array(FIELD_BITS);
    const out = new DataView(error.buffer, error.byteOffset, error.byteLength);
    for (let group = 0; group < CODE_GROUPS; group++) {
      value.fill(0);
      for (let j = WEIGHT; j >= 0; j--) {
        multiplySlices(value, 0, value, 0, this.#support, group * FIELD_BITS);
        for (let k = 0; k < FIELD_BITS; k++)
          value[k] = (value[k] as number) ^ (slices[j * FIELD_BITS + k] as number);
      }
      let set = 0;
      for (let k = 0; k < FIELD_BITS; k++) set |= value[k] as number;
      out.setInt32(4 * group, ~set, true);
    }
    wipe(slices, value);
  }

  [Symbol.dispose](): void {
    wipe(this.#support, this.#weights);
  }
}

/** Beneš network over the field in bit-reversed order: stage i swaps at distance 2^min(i, 24 - i) where its control bit is set. */
function supportOf(controlBits: Uint8Array): Uint16Array {
  if (controlBits.length !== CONTROL_BITS_LENGTH) throw new RangeError('control bits');
  const elements = new Uint16Array(FIELD_SIZE);
  for (let i = 0; i < FIELD_SIZE; i++) elements[i] = reverseBits(i);
  const stages = 2 * FIELD_BITS - 1;
  const pairs = FIELD_SIZE / 2;
  for (let stage = 0; stage < stages; stage++) {
    const gap = 1 << Math.min(stage, stages - 1 - stage);
    for (let pair = 0; pair < pairs; pair++) {
      const bit = stage * pairs + pair;
      const swap = -(((controlBits[bit >>> 3] as number) >>> (bit & 7)) & 1);
      const low = (pair & (gap - 1)) + 2 * (pair & -gap);
      const a = elements[low] as number;
      const b = elements[low + gap] as number;
      const difference = (a ^ b) & swap;
      elements[low] = a ^ difference;
      elements[low + gap] = b ^ difference;
    }
  }
  const support = elements.slice(0, CODE_LENGTH);
  wipe(elements);
  return support;
}

function coefficients(goppa: Uint8Array): Uint16Array {
  if (goppa.length !== GOPPA_LENGTH) throw new RangeError('Goppa polynomial');
  const out = new Uint16Array(WEIGHT);
  for (let i = 0; i < WEIGHT; i++)
    out[i] = ((goppa[2 * i] as number) | ((goppa[2 * i + 1] as number) << 8)) & (FIELD_SIZE - 1);
  return out;
}

/** Of x^96 + the given lower coefficients. */
function evaluateMonic(polynomial: Uint16Array, x: number): number {
  let value = 1;
  for (let i = polynomial.length - 1; i >= 0; i--)
    value = multiply(value, x) ^ (polynomial[i] as number);
  return value;
}

/** Berlekamp–Massey with a fixed course: 97 coefficients whose roots are the positions of the error. */
function locatorOf(syndrome: Uint16Array): Uint16Array {
  const length = WEIGHT + 1;
  const current = new Uint16Array(length);
  const former = new Uint16Array(length);
  const kept = new Uint16Array(length);
  current[0] = 1;
  former[1] = 1;
  let degree = 0;
  let formerDiscrepancy = 1;
  for (let n = 0; n < SYNDROMES; n++) {
    let discrepancy = 0;
    for (let i = 0; i <= Math.min(n, WEIGHT); i++)
      discrepancy ^= multiply(current[i] as number, syndrome[n - i] as number);
    const isNonZero = ~maskOfZero(discrepancy);
    // 2 * degree <= n
    const grows = ~((n - 2 * degree) >> 31) & isNonZero;
    kept.set(current);
    const factor = multiply(discrepancy, invert(formerDiscrepancy)) & isNonZero;
    for (let i = 0; i < length; i++)
      current[i] = (current[i] as number) ^ multiply(factor, former[i] as number);
    degree = (degree & ~grows) | ((n + 1 - degree) & grows);
    for (let i = length - 1; i > 0; i--)
      former[i] = ((former[i - 1] as number) & ~grows) | ((kept[i - 1] as number) & grows);
    former[0] = 0;
    formerDiscrepancy = (formerDiscrepancy & ~grows) | (discrepancy & grows);
  }
  const locator = current.slice().reverse();
  wipe(current, former, kept);
  return locator;
}

function parity(word: number): number {
  let bits = word ^ (word >>> 16);
  bits ^= bits >>> 8;
  bits ^= bits >>> 4;
  bits ^= bits >>> 2;
  return (bits ^ (bits >>> 1)) & 1;
}
