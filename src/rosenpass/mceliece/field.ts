/**
 * The field of 2^13 elements, GF(2)[z] / (z^13 + z^4 + z^3 + z + 1), of Classic McEliece 460896: one element at a time, and 32
 * at a time with one word per coefficient ("bit slices").
 *
 * Nothing here branches on a value or takes one as an index: constant flow, as far as the engine keeps it (`docs/security.md`).
 */

/** Bits of an element. */
export const FIELD_BITS = 13;
export const FIELD_SIZE = 1 << FIELD_BITS;
const FIELD_MASK = FIELD_SIZE - 1;

/** Product of two elements below 2^13. */
export function multiply(a: number, b: number): number {
  let product = 0;
  for (let i = 0; i < FIELD_BITS; i++) product ^= Math.imul(a, b & (1 << i));
  product = fold(product, 0x1ff0000);
  return fold(product, 0x000e000) & FIELD_MASK;
}

/** Reduces the bits of `high`, 13 and above. */
function fold(product: number, high: number): number {
  const bits = product & high;
  return product ^ (bits >>> 9) ^ (bits >>> 10) ^ (bits >>> 12) ^ (bits >>> 13);
}

/** a^(2^13 - 2): the inverse, and 0 for 0. */
export function invert(a: number): number {
  let power = a;
  for (let i = 0; i < FIELD_BITS - 2; i++) power = multiply(multiply(power, power), a);
  return multiply(power, power);
}

/** All bits set for 0, none for another value below 2^31. */
export function maskOfZero(value: number): number {
  return (value - 1) >> 31;
}

/** The element with its 13 bits in reverse order. */
export function reverseBits(a: number): number {
  let reversed = 0;
  for (let i = 0; i < FIELD_BITS; i++) reversed |= ((a >>> i) & 1) << (FIELD_BITS - 1 - i);
  return reversed;
}

/** 32 elements as 13 words: word k holds coefficient k of each. */
export function slice(elements: ArrayLike<number>, from: number): Int32Array {
  const words = new Int32Array(FIELD_BITS);
  for (let lane = 0; lane < 32; lane++)
    for (let k = 0; k < FIELD_BITS; k++)
      words[k] = (words[k] as number) | ((((elements[from + lane] as number) >>> k) & 1) << lane);
  return words;
}

/**
 * 32 products at once: `out[0..12] = a[aAt..] * b[bAt..]`, lane by lane. `out` may be `a` or `b`.
 * Written out, so that the 26 words stay out of memory.
 */
export function multiplySlices(
  out: Int32Array,
  outAt: number,
  a: Int32Array,
  aAt: number,
  b: Int32Array,
  bAt: number,
): void {
  const a0 = a[aAt] as number;
  const a1 = a[aAt + 1] as number;
  const a2 = a[aAt + 2] as number;
  const a3 = a[aAt + 3] as number;
  const a4 = a[aAt + 4] as number;
  const a5 = a[aAt + 5] as number;
  const a6 = a[aAt + 6] as number;
  const a7 = a[aAt + 7] as number;
  const a8 = a[aAt + 8] as number;
  const a9 = a[aAt + 9] as number;
  const a10 = a[aAt + 10] as number;
  const a11 = a[aAt + 11] as number;
  const a12 = a[aAt + 12] as number;
  const b0 = b[bAt] as number;
  const b1 = b[bAt + 1] as number;
  const b2 = b[bAt + 2] as number;
  const b3 = b[bAt + 3] as number;
  const b4 = b[bAt + 4] as number;
  const b5 = b[bAt + 5] as number;
  const b6 = b[bAt + 6] as number;
  const b7 = b[bAt + 7] as number;
  const b8 = b[bAt + 8] as number;
  const b9 = b[bAt + 9] as number;
  const b10 = b[bAt + 10] as number;
  const b11 = b[bAt + 11] as number;
  const b12 = b[bAt + 12] as number;
  const p24 = a12 & b12;
  const p23 = (a11 & b12) ^ (a12 & b11);
  const p22 = (a10 & b12) ^ (a11 & b11) ^ (a12 & b10);
  const p21 = (a9 & b12) ^ (a10 & b11) ^ (a11 & b10) ^ (a12 & b9);
  const p20 = (a8 & b12) ^ (a9 & b11) ^ (a10 & b10) ^ (a11 & b9) ^ (a12 & b8);
  const p19 = (a7 & b12) ^ (a8 & b11) ^ (a9 & b10) ^ (a10 & b9) ^ (a11 & b8) ^ (a12 & b7);
  const p18 =
    (a6 & b12) ^ (a7 & b11) ^ (a8 & b10) ^ (a9 & b9) ^ (a10 & b8) ^ (a11 & b7) ^ (a12 & b6);
  const p17 =
    (a5 & b12) ^
    (a6 & b11) ^
    (a7 & b10) ^
    (a8 & b9) ^
    (a9 & b8) ^
    (a10 & b7) ^
    (a11 & b6) ^
    (a12 & b5);
  const p16 =
    (a4 & b12) ^
    (a5 & b11) ^
    (a6 & b10) ^
    (a7 & b9) ^
    (a8 & b8) ^
    (a9 & b7) ^
    (a10 & b6) ^
    (a11 & b5) ^
    (a12 & b4);
  let p15 =
    (a3 & b12) ^
    (a4 & b11) ^
    (a5 & b10) ^
    (a6 & b9) ^
    (a7 & b8) ^
    (a8 & b7) ^
    (a9 & b6) ^
    (a10 & b5) ^
    (a11 & b4) ^
    (a12 & b3);
  let p14 =
    (a2 & b12) ^
    (a3 & b11) ^
    (a4 & b10) ^
    (a5 & b9) ^
    (a6 & b8) ^
    (a7 & b7) ^
    (a8 & b6) ^
    (a9 & b5) ^
    (a10 & b4) ^
    (a11 & b3) ^
    (a12 & b2);
  let p13 =
    (a1 & b12) ^
    (a2 & b11) ^
    (a3 & b10) ^
    (a4 & b9) ^
    (a5 & b8) ^
    (a6 & b7) ^
    (a7 & b6) ^
    (a8 & b5) ^
    (a9 & b4) ^
    (a10 & b3) ^
    (a11 & b2) ^
    (a12 & b1);
  let p12 =
    (a0 & b12) ^
    (a1 & b11) ^
    (a2 & b10) ^
    (a3 & b9) ^
    (a4 & b8) ^
    (a5 & b7) ^
    (a6 & b6) ^
    (a7 & b5) ^
    (a8 & b4) ^
    (a9 & b3) ^
    (a10 & b2) ^
    (a11 & b1) ^
    (a12 & b0);
  let p11 =
    (a0 & b11) ^
    (a1 & b10) ^
    (a2 & b9) ^
    (a3 & b8) ^
    (a4 & b7) ^
    (a5 & b6) ^
    (a6 & b5) ^
    (a7 & b4) ^
    (a8 & b3) ^
    (a9 & b2) ^
    (a10 & b1) ^
    (a11 & b0);
  let p10 =
    (a0 & b10) ^
    (a1 & b9) ^
    (a2 & b8) ^
    (a3 & b7) ^
    (a4 & b6) ^
    (a5 & b5) ^
    (a6 & b4) ^
    (a7 & b3) ^
    (a8 & b2) ^
    (a9 & b1) ^
    (a10 & b0);
  let p9 =
    (a0 & b9) ^
    (a1 & b8) ^
    (a2 & b7) ^
    (a3 & b6) ^
    (a4 & b5) ^
    (a5 & b4) ^
    (a6 & b3) ^
    (a7 & b2) ^
    (a8 & b1) ^
    (a9 & b0);
  let p8 =
    (a0 & b8) ^
    (a1 & b7) ^
    (a2 & b6) ^
    (a3 & b5) ^
    (a4 & b4) ^
    (a5 & b3) ^
    (a6 & b2) ^
    (a7 & b1) ^
    (a8 & b0);
  let p7 =
    (a0 & b7) ^ (a1 & b6) ^ (a2 & b5) ^ (a3 & b4) ^ (a4 & b3) ^ (a5 & b2) ^ (a6 & b1) ^ (a7 & b0);
  let p6 = (a0 & b6) ^ (a1 & b5) ^ (a2 & b4) ^ (a3 & b3) ^ (a4 & b2) ^ (a5 & b1) ^ (a6 & b0);
  let p5 = (a0 & b5) ^ (a1 & b4) ^ (a2 & b3) ^ (a3 & b2) ^ (a4 & b1) ^ (a5 & b0);
  let p4 = (a0 & b4) ^ (a1 & b3) ^ (a2 & b2) ^ (a3 & b1) ^ (a4 & b0);
  let p3 = (a0 & b3) ^ (a1 & b2) ^ (a2 & b1) ^ (a3 & b0);
  let p2 = (a0 & b2) ^ (a1 & b1) ^ (a2 & b0);
  let p1 = (a0 & b1) ^ (a1 & b0);
  let p0 = a0 & b0;
  p15 ^= p24;
  p14 ^= p24;
  p12 ^= p24;
  p11 ^= p24;
  p14 ^= p23;
  p13 ^= p23;
  p11 ^= p23;
  p10 ^= p23;
  p13 ^= p22;
  p12 ^= p22;
  p10 ^= p22;
  p9 ^= p22;
  p12 ^= p21;
  p11 ^= p21;
  p9 ^= p21;
  p8 ^= p21;
  p11 ^= p20;
  p10 ^= p20;
  p8 ^= p20;
  p7 ^= p20;
  p10 ^= p19;
  p9 ^= p19;
  p7 ^= p19;
  p6 ^= p19;
  p9 ^= p18;
  p8 ^= p18;
  p6 ^= p18;
  p5 ^= p18;
  p8 ^= p17;
  p7 ^= p17;
  p5 ^= p17;
  p4 ^= p17;
  p7 ^= p16;
  p6 ^= p16;
  p4 ^= p16;
  p3 ^= p16;
  p6 ^= p15;
  p5 ^= p15;
  p3 ^= p15;
  p2 ^= p15;
  p5 ^= p14;
  p4 ^= p14;
  p2 ^= p14;
  p1 ^= p14;
  p4 ^= p13;
  p3 ^= p13;
  p1 ^= p13;
  p0 ^= p13;
  out[outAt] = p0;
  out[outAt + 1] = p1;
  out[outAt + 2] = p2;
  out[outAt + 3] = p3;
  out[outAt + 4] = p4;
  out[outAt + 5] = p5;
  out[outAt + 6] = p6;
  out[outAt + 7] = p7;
  out[outAt + 8] = p8;
  out[outAt + 9] = p9;
  out[outAt + 10] = p10;
  out[outAt + 11] = p11;
  out[outAt + 12] = p12;
}
