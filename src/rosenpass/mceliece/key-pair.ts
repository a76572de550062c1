/**
 * Making a key pair of Classic McEliece 460896, with liboqs (WebAssembly). It makes keys of round 4 (`seed ‖ pivots ‖ g ‖ control bits
 * ‖ s`); the older generation has the same public keys and, in another order and without the first 40 bytes, the same secret ones. The
 * pairs come from the "f" variant, whose generation takes a steady time; they are pairs of 460896 all the same.
 *
 * liboqs wipes none of its memory: call this in a process that ends soon.
 */
import { createClassicMcEliece460896f } from '@oqs/liboqs-js';
import { equalBytes } from '#src/bytes';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { RosenpassError } from '../errors.ts';
import { McEliece460896 } from './mceliece.ts';
import { ERROR_LENGTH, ROUND_4_SECRET_KEY_LENGTH, SECRET_KEY_LENGTH } from './parameters.ts';

/** Seed and pivots of round 4, which decapsulation does not need. */
const ROUND_4_HEAD = ROUND_4_SECRET_KEY_LENGTH - SECRET_KEY_LENGTH;

export interface RosenpassKeyPair extends Disposable {
  /** 524,160 bytes */
  readonly publicKey: Uint8Array;
  /** 13,568 bytes, s ‖ g ‖ control bits */
  readonly secretKey: Secret;
}

/** Takes about half a second. @throws ROSENPASS_BAD_KEY for a pair that does not work, which nobody has seen yet */
export async function makeKeyPair(rng: Rng): Promise<RosenpassKeyPair> {
  const kem = await createClassicMcEliece460896f();
  try {
    const { publicKey, secretKey } = kem.generateKeyPair();
    const older = olderSecretKey(secretKey);
    secretKey.fill(0);
    const pair = { publicKey, secretKey: Secret.take(older) };
    expectPair(pair.secretKey.expose(), publicKey, rng);
    return { ...pair, [Symbol.dispose]: () => pair.secretKey[Symbol.dispose]() };
  } finally {
    kem.destroy();
  }
}

/** @param round4 13,608 bytes, as round 4 and the Go program keep it  @returns 13,568 bytes */
export function olderSecretKey(round4: Uint8Array): Uint8Array {
  const older = new Uint8Array(SECRET_KEY_LENGTH);
  const rejectionAt = round4.length - ERROR_LENGTH;
  older.set(round4.subarray(rejectionAt));
  older.set(round4.subarray(ROUND_4_HEAD, rejectionAt), ERROR_LENGTH);
  return older;
}

/** What is sealed to the public key opens with the secret one. @throws ROSENPASS_BAD_KEY */
export function expectPair(secretKey: Uint8Array, publicKey: Uint8Array, rng: Rng): void {
  using kem = new McEliece460896(secretKey, () => publicKey, rng);
  const { ciphertext, sharedSecret } = kem.encapsulate(publicKey);
  if (!equalBytes(kem.decapsulate(ciphertext), sharedSecret))
    throw new RosenpassError(
      'ROSENPASS_BAD_KEY',
      'secret and public key: expected the two halves of one pair, got others',
    );
}
