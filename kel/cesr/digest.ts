/** Self-describing digests. Kelmesh writes BLAKE3-256 (`E`) and verifies every digest code of the table. */
import { createHash } from 'node:crypto';
import { blake2b, blake2s } from '@noble/hashes/blake2.js';
import { blake3 as wideBlake3 } from '@noble/hashes/blake3.js';
import { blake3 } from '#src/crypto/hash';
import { decodeMatter, encodeMatter } from './matter.ts';
import { BLAKE3_256 } from './matter-codes.ts';

type Hash = (bytes: Uint8Array) => Uint8Array;

const HASHES: ReadonlyMap<string, Hash> = new Map<string, Hash>([
  ['E', blake3],
  ['F', (bytes) => blake2b(bytes, { dkLen: 32 })],
  ['G', (bytes) => blake2s(bytes, { dkLen: 32 })],
  ['H', (bytes) => createHash('sha3-256').update(bytes).digest()],
  ['I', (bytes) => createHash('sha256').update(bytes).digest()],
  ['0D', (bytes) => wideBlake3(bytes, { dkLen: 64 })],
  ['0E', (bytes) => blake2b(bytes, { dkLen: 64 })],
  ['0F', (bytes) => createHash('sha3-512').update(bytes).digest()],
  ['0G', (bytes) => createHash('sha512').update(bytes).digest()],
]);

export function isDigestCode(code: string): boolean {
  return HASHES.has(code);
}

/** @returns 44 characters, `E…` */
export function blake3Digest(bytes: Uint8Array): string {
  return encodeMatter(BLAKE3_256, blake3(bytes));
}

/** True when `qb64` is the digest of `bytes` under its own code. @throws KEL_BAD_CODE when `qb64` is no primitive */
export function verifyDigest(qb64: string, bytes: Uint8Array): boolean {
  const { code } = decodeMatter(qb64);
  const hash = HASHES.get(code);
  return hash !== undefined && encodeMatter(code, hash(bytes)) === qb64;
}
