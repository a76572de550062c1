/**
 * BLAKE3 of one chunk (up to 1,024 bytes), which is what events and keys are: several times faster than the
 * general implementation, and beside Ed25519 the hash is what verifying a log costs. Longer input goes to the latter.
 */
import { blake3 } from '#src/crypto/hash';

const CHUNK_LENGTH = 1024;
const BLOCK_LENGTH = 64;
const CHUNK_START = 1;
const CHUNK_END_AND_ROOT = 2 | 8;

/** BLAKE3 2.2, table 1. */
const IV = Int32Array.of(
  0x6a09e667,
  0xbb67ae85,
  0x3c6ef372,
  0xa54ff53a,
  0x510e527f,
  0x9b05688c,
  0x1f83d9ab,
  0x5be0cd19,
);
const [IV0, IV1, IV2, IV3] = IV as unknown as [number, number, number, number];

/** Message words of each of the 7 rounds: the permutation of table 2 applied again and again. */
const ORDER = messageOrder([2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]);

// Reused: hashing is synchronous and nobody reads them afterwards.
const words = new Int32Array(CHUNK_LENGTH / 4);
const chunk = new Uint8Array(words.buffer);
const chaining = new Int32Array(8);
const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** @returns 32 bytes */
export function shortBlake3(bytes: Uint8Array): Uint8Array {
  if (bytes.length > CHUNK_LENGTH || !isLittleEndian) return blake3(bytes);
  const last = Math.max(0, bytes.length - 1) >> 6;
  chunk.set(bytes);
  chunk.fill(0, bytes.length, (last + 1) * BLOCK_LENGTH);
  chaining.set(IV);
  for (let i = 0; i < last; i++) compress(i * 16, BLOCK_LENGTH, i === 0 ? CHUNK_START : 0);
  const flags = (last === 0 ? CHUNK_START : 0) | CHUNK_END_AND_ROOT;
  compress(last * 16, bytes.length - last * BLOCK_LENGTH, flags);
  return new Uint8Array(chaining.buffer.slice(0));
}

function messageOrder(permutation: readonly number[]): Uint8Array {
  const order = new Uint8Array(7 * 16);
  let round = permutation.map((_, i) => i);
  for (let at = 0; at < order.length; at += 16) {
    order.set(round, at);
    round = permutation.map((i) => round[i] as number);
  }
  return order;
}

/**
 * BLAKE3 2.2: the block of 16 words at `from` into `chaining`. Written out, because calls and arrays in the inner loop cost more than the sums.
 * Each group of six lines is half a quarter-round: columns first, then diagonals.
 */
function compress(from: number, length: number, flags: number): void {
  let v0 = chaining[0] as number;
  let v1 = chaining[1] as number;
  let v2 = chaining[2] as number;
  let v3 = chaining[3] as number;
  let v4 = chaining[4] as number;
  let v5 = chaining[5] as number;
  let v6 = chaining[6] as number;
  let v7 = chaining[7] as number;
  let v8 = IV0;
  let v9 = IV1;
  let v10 = IV2;
  let v11 = IV3;
  let v12 = 0;
  let v13 = 0;
  let v14 = length;
  let v15 = flags;
  for (let at = 0; at < ORDER.length; at += 16) {
    v0 = (v0 + v4 + word(from, at + 0)) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 16) | (v12 << 16);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 12) | (v4 << 20);
    v0 = (v0 + v4 + word(from, at + 1)) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 8) | (v12 << 24);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 7) | (v4 << 25);
    v1 = (v1 + v5 + word(from, at + 2)) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 16) | (v13 << 16);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 12) | (v5 << 20);
    v1 = (v1 + v5 + word(from, at + 3)) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 8) | (v13 << 24);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 7) | (v5 << 25);
    v2 = (v2 + v6 + word(from, at + 4)) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 16) | (v14 << 16);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 12) | (v6 << 20);
    v2 = (v2 + v6 + word(from, at + 5)) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 8) | (v14 << 24);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 7) | (v6 << 25);
    v3 = (v3 + v7 + word(from, at + 6)) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 16) | (v15 << 16);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 12) | (v7 << 20);
    v3 = (v3 + v7 + word(from, at + 7)) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 8) | (v15 << 24);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 7) | (v7 << 25);
    v0 = (v0 + v5 + word(from, at + 8)) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 16) | (v15 << 16);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 12) | (v5 << 20);
    v0 = (v0 + v5 + word(from, at + 9)) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 8) | (v15 << 24);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 7) | (v5 << 25);
    v1 = (v1 + v6 + word(from, at + 10)) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 16) | (v12 << 16);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 12) | (v6 << 20);
    v1 = (v1 + v6 + word(from, at + 11)) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 8) | (v12 << 24);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 7) | (v6 << 25);
    v2 = (v2 + v7 + word(from, at + 12)) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 16) | (v13 << 16);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 12) | (v7 << 20);
    v2 = (v2 + v7 + word(from, at + 13)) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 8) | (v13 << 24);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 7) | (v7 << 25);
    v3 = (v3 + v4 + word(from, at + 14)) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 16) | (v14 << 16);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 12) | (v4 << 20);
    v3 = (v3 + v4 + word(from, at + 15)) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 8) | (v14 << 24);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 7) | (v4 << 25);
  }
  chaining[0] = v0 ^ v8;
  chaining[1] = v1 ^ v9;
  chaining[2] = v2 ^ v10;
  chaining[3] = v3 ^ v11;
  chaining[4] = v4 ^ v12;
  chaining[5] = v5 ^ v13;
  chaining[6] = v6 ^ v14;
  chaining[7] = v7 ^ v15;
}

function word(from: number, at: number): number {
  return words[from + (ORDER[at] as number)] as number;
}
