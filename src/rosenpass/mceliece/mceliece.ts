/**
 * Classic McEliece 460896 as SUPERCOP-20191221 has it ("the older generation", liboqs up to 0.8): ciphertexts of 188 bytes, with a
 * digest of the error vector behind its syndrome. What later generations share, the code and its decoding, stands beside.
 *
 *   ciphertext    = C0 (156 bytes: syndrome of e) ‖ C1 (32 bytes: SHAKE256(2 ‖ e))
 *   shared secret = SHAKE256(1 ‖ e ‖ ciphertext), or SHAKE256(0 ‖ s ‖ ciphertext) for a ciphertext that is none
 */
import type { Rng } from '#src/rng';
import { RosenpassError } from '../errors.ts';
import type { Encapsulation, StaticKem } from '../kem.ts';
import { shake256 } from '../keyed-hash.ts';
import { wipe } from '../wipe.ts';
import { maskOfFullWeight, randomError, syndromeOf } from './encode.ts';
import { maskOfZero } from './field.ts';
import { GoppaDecoder } from './goppa.ts';
import {
  CIPHERTEXT_LENGTH,
  ERROR_LENGTH,
  GOPPA_LENGTH,
  PUBLIC_KEY_LENGTH,
  SECRET_KEY_LENGTH,
  SYNDROME_LENGTH,
} from './parameters.ts';

/** What is hashed begins with it. */
const HASH = { rejected: 0, accepted: 1, confirmation: 2 } as const;

export class McEliece460896 implements StaticKem {
  readonly ciphertextLength = CIPHERTEXT_LENGTH;
  readonly #rng: Rng;
  readonly #publicKey: () => Uint8Array;
  readonly #rejection: Uint8Array;
  readonly #decoder: GoppaDecoder;

  /**
   * @param secretKey 13,568 bytes, s ‖ g ‖ control bits; what is needed of it is copied
   * @param publicKey the own one, 524,160 bytes, asked for at each decapsulation
   * @throws ROSENPASS_BAD_KEY
   */
  constructor(secretKey: Uint8Array, publicKey: () => Uint8Array, rng: Rng) {
    expectSecretKey(secretKey);
    this.#rng = rng;
    this.#publicKey = publicKey;
    this.#rejection = secretKey.slice(0, ERROR_LENGTH);
    this.#decoder = new GoppaDecoder(
      secretKey.subarray(ERROR_LENGTH, ERROR_LENGTH + GOPPA_LENGTH),
      secretKey.subarray(ERROR_LENGTH + GOPPA_LENGTH),
    );
  }

  encapsulate(publicKey: Uint8Array): Encapsulation {
    expectPublicKey(publicKey);
    const error = randomError(this.#rng);
    try {
      const ciphertext = new Uint8Array(CIPHERTEXT_LENGTH);
      ciphertext.set(syndromeOf(publicKey, error));
      ciphertext.set(shake256(Uint8Array.of(HASH.confirmation), error), SYNDROME_LENGTH);
      const sharedSecret = shake256(Uint8Array.of(HASH.accepted), error, ciphertext);
      return { ciphertext, sharedSecret };
    } finally {
      wipe(error);
    }
  }

  decapsulate(ciphertext: Uint8Array): Uint8Array {
    if (ciphertext.length !== CIPHERTEXT_LENGTH)
      throw new RangeError(`expected ${CIPHERTEXT_LENGTH} bytes, got ${ciphertext.length}`);
    const syndrome = ciphertext.slice(0, SYNDROME_LENGTH);
    const error = new Uint8Array(ERROR_LENGTH);
    const accepted = this.#decode(syndrome, error);
    const confirmation = shake256(Uint8Array.of(HASH.confirmation), error);
    const isAccepted = accepted & maskOfEqual(confirmation, ciphertext.subarray(SYNDROME_LENGTH));
    const prefix = Uint8Array.of(HASH.accepted & isAccepted);
    for (let i = 0; i < ERROR_LENGTH; i++)
      error[i] =
        ((error[i] as number) & isAccepted) | ((this.#rejection[i] as number) & ~isAccepted);
    const sharedSecret = shake256(prefix, error, ciphertext);
    wipe(error, confirmation);
    return sharedSecret;
  }

  /** @returns all bits set when the error vector has weight 96 and this very syndrome */
  #decode(syndrome: Uint8Array, error: Uint8Array): number {
    this.#decoder.decode(syndrome, error);
    // One look with the public key takes the place of 192 sums over all positions with the secret one.
    const again = syndromeOf(this.#publicKey(), error);
    return maskOfFullWeight(error) & maskOfEqual(again, syndrome);
  }

  [Symbol.dispose](): void {
    wipe(this.#rejection);
    this.#decoder[Symbol.dispose]();
  }
}

function maskOfEqual(a: Uint8Array, b: Uint8Array): number {
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= (a[i] as number) ^ (b[i] as number);
  return maskOfZero(difference);
}

export function expectPublicKey(bytes: Uint8Array): void {
  if (bytes.length !== PUBLIC_KEY_LENGTH)
    throw new RosenpassError(
      'ROSENPASS_BAD_KEY',
      `public key: expected ${PUBLIC_KEY_LENGTH} bytes, got ${bytes.length}`,
    );
}

export function expectSecretKey(bytes: Uint8Array): void {
  if (bytes.length !== SECRET_KEY_LENGTH)
    throw new RosenpassError(
      'ROSENPASS_BAD_KEY',
      `secret key: expected ${SECRET_KEY_LENGTH} bytes, got ${bytes.length}`,
    );
}
