/**
 * BLAKE3 of one chunk, which is what most events and all keys are: several times faster than the general
 * implementation, and beside Ed25519 the hash is what verifying a log costs.
 */

/** Longest input, in bytes. */
export const BLAKE3_CHUNK_LENGTH = 1024;

const BLOCK_LENGTH = 64;
const ROUNDS = 7;
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

// Reused: hashing is synchronous and nobody reads them afterwards.
const words = new Int32Array(BLAKE3_CHUNK_LENGTH / 4);
const chunk = new Uint8Array(words.buffer);
const chaining = new Int32Array(8);
const chainingBytes = new Uint8Array(chaining.buffer);

/** The words are read as this machine orders them. */
export const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;

/** On little-endian machines. @param bytes up to {@link BLAKE3_CHUNK_LENGTH}  @returns 32 bytes */
export function blake3Chunk(bytes: Uint8Array): Uint8Array {
  const last = Math.max(0, bytes.length - 1) >> 6;
  chunk.set(bytes);
  chunk.fill(0, bytes.length, (last + 1) * BLOCK_LENGTH);
  chaining.set(IV);
  for (let i = 0; i < last; i++) compress(i * 16, BLOCK_LENGTH, i === 0 ? CHUNK_START : 0);
  const flags = (last === 0 ? CHUNK_START : 0) | CHUNK_END_AND_ROOT;
  compress(last * 16, bytes.length - last * BLOCK_LENGTH, flags);
  const digest = new Uint8Array(chainingBytes.length);
  digest.set(chainingBytes);
  return digest;
}

/**
 * BLAKE3 2.2: the block of 16 words at `from` into `chaining`. Written out, because calls and arrays in the inner loop cost more than the sums.
 * Each group of six lines is half a quarter-round: columns first, then diagonals. Between rounds the message words change places.
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
  let m0 = words[from + 0] as number;
  let m1 = words[from + 1] as number;
  let m2 = words[from + 2] as number;
  let m3 = words[from + 3] as number;
  let m4 = words[from + 4] as number;
  let m5 = words[from + 5] as number;
  let m6 = words[from + 6] as number;
  let m7 = words[from + 7] as number;
  let m8 = words[from + 8] as number;
  let m9 = words[from + 9] as number;
  let m10 = words[from + 10] as number;
  let m11 = words[from + 11] as number;
  let m12 = words[from + 12] as number;
  let m13 = words[from + 13] as number;
  let m14 = words[from + 14] as number;
  let m15 = words[from + 15] as number;
  for (let round = 0; round < ROUNDS; round++) {
    v0 = (v0 + v4 + m0) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 16) | (v12 << 16);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 12) | (v4 << 20);
    v0 = (v0 + v4 + m1) | 0;
    v12 ^= v0;
    v12 = (v12 >>> 8) | (v12 << 24);
    v8 = (v8 + v12) | 0;
    v4 ^= v8;
    v4 = (v4 >>> 7) | (v4 << 25);
    v1 = (v1 + v5 + m2) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 16) | (v13 << 16);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 12) | (v5 << 20);
    v1 = (v1 + v5 + m3) | 0;
    v13 ^= v1;
    v13 = (v13 >>> 8) | (v13 << 24);
    v9 = (v9 + v13) | 0;
    v5 ^= v9;
    v5 = (v5 >>> 7) | (v5 << 25);
    v2 = (v2 + v6 + m4) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 16) | (v14 << 16);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 12) | (v6 << 20);
    v2 = (v2 + v6 + m5) | 0;
    v14 ^= v2;
    v14 = (v14 >>> 8) | (v14 << 24);
    v10 = (v10 + v14) | 0;
    v6 ^= v10;
    v6 = (v6 >>> 7) | (v6 << 25);
    v3 = (v3 + v7 + m6) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 16) | (v15 << 16);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 12) | (v7 << 20);
    v3 = (v3 + v7 + m7) | 0;
    v15 ^= v3;
    v15 = (v15 >>> 8) | (v15 << 24);
    v11 = (v11 + v15) | 0;
    v7 ^= v11;
    v7 = (v7 >>> 7) | (v7 << 25);
    v0 = (v0 + v5 + m8) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 16) | (v15 << 16);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 12) | (v5 << 20);
    v0 = (v0 + v5 + m9) | 0;
    v15 ^= v0;
    v15 = (v15 >>> 8) | (v15 << 24);
    v10 = (v10 + v15) | 0;
    v5 ^= v10;
    v5 = (v5 >>> 7) | (v5 << 25);
    v1 = (v1 + v6 + m10) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 16) | (v12 << 16);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 12) | (v6 << 20);
    v1 = (v1 + v6 + m11) | 0;
    v12 ^= v1;
    v12 = (v12 >>> 8) | (v12 << 24);
    v11 = (v11 + v12) | 0;
    v6 ^= v11;
    v6 = (v6 >>> 7) | (v6 << 25);
    v2 = (v2 + v7 + m12) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 16) | (v13 << 16);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 12) | (v7 << 20);
    v2 = (v2 + v7 + m13) | 0;
    v13 ^= v2;
    v13 = (v13 >>> 8) | (v13 << 24);
    v8 = (v8 + v13) | 0;
    v7 ^= v8;
    v7 = (v7 >>> 7) | (v7 << 25);
    v3 = (v3 + v4 + m14) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 16) | (v14 << 16);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 12) | (v4 << 20);
    v3 = (v3 + v4 + m15) | 0;
    v14 ^= v3;
    v14 = (v14 >>> 8) | (v14 << 24);
    v9 = (v9 + v14) | 0;
    v4 ^= v9;
    v4 = (v4 >>> 7) | (v4 << 25);
    // Table 2: two cycles of eight.
    const first = m0;
    m0 = m2;
    m2 = m3;
    m3 = m10;
    m10 = m12;
    m12 = m9;
    m9 = m11;
    m11 = m5;
    m5 = first;
    const second = m1;
    m1 = m6;
    m6 = m4;
    m4 = m7;
    m7 = m13;
    m13 = m14;
    m14 = m15;
    m15 = m8;
    m8 = second;
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
