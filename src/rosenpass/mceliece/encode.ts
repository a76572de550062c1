/** The public half of Classic McEliece 460896: error vectors, and their syndromes under a public key. */
import type { Rng } from '#src/rng';
import { wipe } from '../wipe.ts';
import { maskOfZero } from './field.ts';
import {
  CODE_LENGTH,
  ERROR_LENGTH,
  ROW_LENGTH,
  SYNDROME_BITS,
  SYNDROME_LENGTH,
  WEIGHT,
} from './parameters.ts';

/** Candidates drawn at a time: a little more than half of them are positions. */
const DRAWN = 4 * WEIGHT;
const POSITION_MASK = 0x1fff;
const WORDS = ERROR_LENGTH / 4;

/**
 * A uniform vector with 96 of 4,608 bits set, 576 bytes. How often it draws says nothing of what it returns: a draw is taken
 * or thrown away as a whole.
 */
export function randomError(rng: Rng): Uint8Array {
  const positions = new Uint16Array(WEIGHT);
  while (!draw(rng, positions));
  const error = new Uint8Array(ERROR_LENGTH);
  const words = new Int32Array(error.buffer);
  for (let word = 0; word < WORDS; word++)
    for (let i = 0; i < WEIGHT; i++) {
      const position = positions[i] as number;
      words[word] =
        (words[word] as number) | ((1 << (position & 31)) & maskOfZero((position >>> 5) ^ word));
    }
  wipe(positions);
  return error;
}

/** @returns whether there were enough positions, and no two alike */
function draw(rng: Rng, positions: Uint16Array): boolean {
  const bytes = rng.bytes(2 * DRAWN);
  let count = 0;
  for (let i = 0; i < DRAWN && count < WEIGHT; i++) {
    const candidate =
      ((bytes[2 * i] as number) | ((bytes[2 * i + 1] as number) << 8)) & POSITION_MASK;
    // Those that are thrown away are independent of those that stay.
    if (candidate < CODE_LENGTH) positions[count++] = candidate;
  }
  wipe(bytes);
  let alike = 0;
  for (let i = 1; i < count; i++)
    for (let j = 0; j < i; j++)
      alike |= maskOfZero((positions[i] as number) ^ (positions[j] as number));
  return count === WEIGHT && alike === 0;
}

/** H e for H = (I | public key). @param publicKey 524,160 bytes  @param error 576 bytes  @returns 156 bytes */
export function syndromeOf(publicKey: Uint8Array, error: Uint8Array): Uint8Array {
  const syndrome = new Uint8Array(SYNDROME_LENGTH);
  const rowWords = ROW_LENGTH / 4;
  const tail = new Int32Array(error.slice(SYNDROME_LENGTH).buffer);
  const rows = wordsOf(publicKey);
  for (let row = 0; row < SYNDROME_BITS; row++) {
    let sum = 0;
    const from = row * rowWords;
    for (let i = 0; i < rowWords; i++) sum ^= (rows[from + i] as number) & (tail[i] as number);
    sum ^= sum >>> 16;
    sum ^= sum >>> 8;
    sum ^= sum >>> 4;
    sum ^= sum >>> 2;
    sum ^= sum >>> 1;
    syndrome[row >>> 3] = (syndrome[row >>> 3] as number) | ((sum & 1) << (row & 7));
  }
  for (let i = 0; i < SYNDROME_LENGTH; i++)
    syndrome[i] = (syndrome[i] as number) ^ (error[i] as number);
  wipe(tail);
  return syndrome;
}

/** The same memory where it is aligned, else a copy. Every machine that Node runs on is little-endian. */
function wordsOf(bytes: Uint8Array): Int32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes);
  return new Int32Array(aligned.buffer, aligned.byteOffset, aligned.length / 4);
}

/** All bits set when exactly 96 are set in the 576 bytes. */
export function maskOfFullWeight(error: Uint8Array): number {
  let weight = 0;
  for (let i = 0; i < ERROR_LENGTH; i++)
    for (let bit = 0; bit < 8; bit++) weight += ((error[i] as number) >>> bit) & 1;
  return maskOfZero(weight ^ WEIGHT);
}
