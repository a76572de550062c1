/** Key files of Rosenpass: raw bytes without a header, and a preshared key in base64. */
import { existsSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { PRIVATE, PUBLIC, writeOutput } from '#src/files/atomic-file';
import { FileError, onFileSync } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import type { Secret } from '#src/secret';
import { decodeBase64Secret } from '#src/wireguard/base64-secret';
import { RosenpassError } from '../errors.ts';
import { olderSecretKey, type RosenpassKeyPair } from '../mceliece/key-pair.ts';
import { expectPublicKey, expectSecretKey } from '../mceliece/mceliece.ts';
import { PUBLIC_KEY_LENGTH, ROUND_4_SECRET_KEY_LENGTH } from '../mceliece/parameters.ts';

const OTHERS_READ = 0o044;
/** Base64 and a line break or two. */
const MAX_PSK_LENGTH = 64;

export interface KeyPlaces {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** @throws FILE_EXISTS for each that is there */
export function expectFree({ publicKey, secretKey }: KeyPlaces): void {
  const taken = [publicKey, secretKey]
    .filter((path) => existsSync(path))
    .map((path) => resolve(path));
  if (taken.length > 0)
    throw new FileError('FILE_EXISTS', `${taken.join(' and ')}: is there already`, {
      hint: 'Choose another name, or give --force: then the pair that is there is lost',
    });
}

/** The secret key first: a crash in between leaves no public key that nobody can answer for. @throws FILE_… */
export async function writeKeyPair(
  { publicKey, secretKey }: KeyPlaces,
  pair: RosenpassKeyPair,
  isNew: boolean,
): Promise<void> {
  await writeOutput(secretKey, pair.secretKey.expose(), { mode: PRIVATE, isNew });
  await writeOutput(publicKey, pair.publicKey, { mode: PUBLIC, isNew });
}

/** @returns 524,160 bytes  @throws ROSENPASS_BAD_KEY, FILE_… */
export function readPublicKey(path: string): Uint8Array {
  const bytes = onFileSync(path, () => readRegularFile(path, PUBLIC_KEY_LENGTH));
  return named(path, bytes, () => expectPublicKey(bytes));
}

/**
 * Also in the form of the Go program, which is that of round 4: 13,608 bytes.
 * @returns 13,568 bytes, which the caller wipes  @throws ROSENPASS_BAD_KEY, FILE_…
 */
export function readSecretKey(path: string): Uint8Array {
  let bytes: Uint8Array = onFileSync(path, () => readRegularFile(path, ROUND_4_SECRET_KEY_LENGTH));
  if (bytes.length === ROUND_4_SECRET_KEY_LENGTH) {
    const older = olderSecretKey(bytes);
    bytes.fill(0);
    bytes = older;
  }
  return named(path, bytes, () => expectSecretKey(bytes));
}

/** @throws ROSENPASS_BAD_KEY, without the content; FILE_… */
export function readPresharedKey(path: string): Secret {
  const bytes = onFileSync(path, () => readRegularFile(path, MAX_PSK_LENGTH));
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  const secret = decodeBase64Secret(bytes.subarray(0, end));
  bytes.fill(0);
  if (secret === undefined)
    throw new RosenpassError(
      'ROSENPASS_BAD_KEY',
      `${path}: expected a preshared key, 44 characters of base64`,
      { hint: 'Make one with `wg genpsk`, the same on both sides' },
    );
  return secret;
}

/** Whether others than the owner can read the file; the Rust program makes its secret keys so. */
export function isExposed(path: string): boolean {
  return (onFileSync(path, () => statSync(path)).mode & OTHERS_READ) !== 0;
}

function named(path: string, bytes: Uint8Array, expectKey: () => void): Uint8Array {
  try {
    expectKey();
    return bytes;
  } catch (cause) {
    throw new RosenpassError('ROSENPASS_BAD_KEY', `${path}: ${(cause as Error).message}`, {
      cause,
    });
  }
}
