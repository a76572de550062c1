/**
 * The private keys of a CA file, sealed under a passphrase of its own.
 *
 *   sealed    = XChaCha20-Poly1305 of the keys (src/crypto/aead.ts), the header of the file as associated data
 *   keys      = for each generation: length (u16) || PKCS#8, DER; in version 1 the PKCS#8 key alone
 *
 * So keys, certificates, what issues and what was retired are bound to each other, and cannot come apart.
 */

import { ByteReader } from '#src/byte-reader';
import { concatBytes } from '#src/bytes';
import { open, seal } from '#src/crypto/aead';
import { costProblem, keyOfPassphrase } from '#src/crypto/passphrase';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { type CaFile, encodeCaFile, encodeCaHeader, SALT_LENGTH } from './ca-file.ts';
import { CaError } from './errors.ts';

type Cost = Pick<CaFile, 'cost' | 'salt'>;

/** Cost and salt of a new file. @throws CA_BAD_INPUT for a cost out of bounds */
export function newCost(cost: CaFile['cost'], rng: Rng): Cost {
  const problem = costProblem(cost);
  if (problem !== undefined) throw new CaError('CA_BAD_INPUT', problem);
  return { cost, salt: rng.bytes(SALT_LENGTH) };
}

/** Argon2id: slow on purpose. @returns 32 bytes  @throws CA_BAD_INPUT for an empty passphrase */
export async function passphraseKey(passphrase: Secret, { cost, salt }: Cost): Promise<Secret> {
  if (passphrase.length === 0) throw new CaError('CA_BAD_INPUT', 'passphrase: it is empty');
  return keyOfPassphrase(passphrase, salt, cost);
}

/** @param keys PKCS#8, DER, one for each generation  @param key from {@link passphraseKey} with the cost and salt of `file` */
export function sealCa(
  content: Omit<CaFile, 'sealed' | 'version'>,
  keys: readonly Secret[],
  key: Secret,
  rng: Rng,
): Uint8Array {
  const file = { ...content, version: 2 } as const;
  using plain = Secret.take(
    concatBytes(...keys.flatMap((each) => [uint16be(each.length), each.expose()])),
  );
  return encodeCaFile({ ...file, sealed: seal(key, plain.expose(), encodeCaHeader(file), rng) });
}

/** @returns the PKCS#8 keys, DER, one for each generation  @throws CA_WRONG_PASSPHRASE, CA_CORRUPT */
export function unsealCa(file: CaFile, key: Secret): readonly Secret[] {
  let bytes: Uint8Array;
  try {
    bytes = open(key, file.sealed, encodeCaHeader(file));
  } catch (cause) {
    throw new CaError('CA_WRONG_PASSPHRASE', 'the passphrase does not open the key of this CA', {
      cause,
    });
  }
  using plain = Secret.take(bytes);
  return file.version === 1
    ? [new Secret(plain.expose())]
    : splitKeys(plain.expose(), file.generations.length);
}

function splitKeys(bytes: Uint8Array, count: number): readonly Secret[] {
  const corrupt = (reason: string) => new CaError('CA_CORRUPT', `CA file, keys: ${reason}`);
  const reader = new ByteReader(bytes, corrupt);
  using onFailure = new DisposableStack();
  const keys: Secret[] = [];
  // Views: the bytes are secret, and `Secret` makes its own copy.
  while (reader.left > 0) keys.push(onFailure.use(new Secret(reader.view(reader.uint16()))));
  if (keys.length !== count) throw corrupt(`expected ${count}, got ${keys.length}`);
  onFailure.move();
  return keys;
}

function uint16be(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
