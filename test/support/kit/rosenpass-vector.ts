/** The recorded handshake in `fixtures/rosenpass/v03`, and what it takes to play it again: see `fixtures/README.md`. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { zstdDecompressSync } from 'node:zlib';
import { ml_kem512 } from '@noble/post-quantum/ml-kem.js';
import { parse } from 'smol-toml';
import type { Rng } from '#src/rng';
import type { Encapsulation, EphemeralKem, StaticKem } from '#src/rosenpass/kem';
import { shake256 } from '#src/rosenpass/keyed-hash';
import { kyberSecret } from '#src/rosenpass/kyber512';
import { maskOfFullWeight, syndromeOf } from '#src/rosenpass/mceliece/encode';
import { GoppaDecoder } from '#src/rosenpass/mceliece/goppa';
import { olderSecretKey } from '#src/rosenpass/mceliece/key-pair';

const FOLDER = fileURLToPath(new URL('../../../fixtures/rosenpass/v03/', import.meta.url));
const NAME = 'crypto_server_test_vector_1.toml';
/** s, at the front of a secret key of the older form. */
const REJECTION = 576;

/** Values by their place in the file; the file says what each is. */
export function readRosenpassVector(): readonly Uint8Array[] {
  const { entries } = parse(readFileSync(`${FOLDER}${NAME}`, 'utf8')) as unknown as {
    entries: readonly { readonly value?: string }[];
  };
  return entries.map(({ value }, at) =>
    Uint8Array.fromBase64(value ?? readOffloaded(at), { lastChunkHandling: 'strict' }),
  );
}

function readOffloaded(at: number): string {
  const path = `${FOLDER}${NAME}_offloaded_value_${at}.zstd`;
  // In quotes, as the value of a TOML key.
  return zstdDecompressSync(readFileSync(path)).toString().replaceAll('"', '').trim();
}

/** Gives what is in the list of that length, in order; asked for more, it fails. */
export class ScriptedRng implements Rng {
  readonly #script: Map<number, Uint8Array[]>;

  constructor(values: readonly Uint8Array[]) {
    this.#script = new Map();
    for (const value of values)
      this.#script.set(value.length, [...(this.#script.get(value.length) ?? []), value]);
  }

  bytes(length: number): Uint8Array {
    // Pauses alone are drawn from two bytes.
    if (length === 2) return new Uint8Array(2);
    const value = this.#script.get(length)?.shift();
    if (value === undefined) throw new RangeError(`no ${length} bytes are left`);
    return new Uint8Array(value);
  }
}

/** Classic McEliece of round 4: no confirmation in the ciphertext, and none in the hash. It has the code and the decoder of ours. */
export function round4Kem(
  secretKey: Uint8Array,
  publicKey: Uint8Array,
  recorded: Encapsulation,
): StaticKem {
  const older = olderSecretKey(secretKey);
  const decoder = new GoppaDecoder(
    older.subarray(REJECTION, REJECTION + 192),
    older.subarray(REJECTION + 192),
  );
  return {
    ciphertextLength: 156,
    encapsulate: () => ({ ...recorded, sharedSecret: new Uint8Array(recorded.sharedSecret) }),
    decapsulate(ciphertext) {
      const error = new Uint8Array(REJECTION);
      decoder.decode(ciphertext, error);
      const isWhole =
        maskOfFullWeight(error) !== 0 &&
        Buffer.compare(syndromeOf(publicKey, error), ciphertext) === 0;
      return isWhole
        ? shake256(Uint8Array.of(1), error, ciphertext)
        : shake256(Uint8Array.of(0), older.subarray(0, REJECTION), ciphertext);
    },
    [Symbol.dispose]: () => decoder[Symbol.dispose](),
  };
}

/** Kyber512 with the recorded key and ciphertext; it decapsulates with @noble/post-quantum, which takes an expanded secret key. */
export function recordedKyber(
  secretKey: Uint8Array,
  publicKey: Uint8Array,
  recorded: Encapsulation,
): EphemeralKem {
  return {
    generate: () => ({
      publicKey,
      decapsulate: (ciphertext) =>
        kyberSecret(ml_kem512.decapsulate(ciphertext, secretKey), ciphertext),
      [Symbol.dispose]: () => undefined,
    }),
    encapsulate: () => ({ ...recorded, sharedSecret: new Uint8Array(recorded.sharedSecret) }),
  };
}
