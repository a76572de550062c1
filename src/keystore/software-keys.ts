/**
 * Private keys in memory and what a key store does with them: the core of the sealed-file driver.
 *
 * A set of keys is a value: `with` and `without` give a new set that shares the secrets, so that a driver
 * changes over only when the new set is durable.
 */
import { createPrivateKey, createPublicKey, type KeyObject, sign } from 'node:crypto';
import { hkdfExpand } from '#src/crypto/hash';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { KeyStoreError } from './errors.ts';
import { KEY_ID_LENGTH, keyIdOf } from './key-id.ts';
import type { KeyId, KeyStoreEntry, SigningAlgorithm, SigningKey } from './key-store.ts';
import { checkMessage, checkPrf } from './limits.ts';
import { isP256Scalar, lowS } from './p256-form.ts';

/** Every private value is 32 bytes: Ed25519 seed, P-256 scalar (big-endian), or derivation root. */
export const SOFTWARE_SECRET_LENGTH = 32;

export type SoftwareKeyKind = SigningAlgorithm | 'root';

export interface SoftwareKey {
  readonly id: KeyId;
  readonly kind: SoftwareKeyKind;
  readonly secret: Secret;
}

export class SoftwareKeys {
  readonly #keys: ReadonlyMap<KeyId, SoftwareKey>;

  constructor(keys: Iterable<SoftwareKey> = []) {
    this.#keys = new Map([...keys].map((key) => [key.id, key]));
  }

  with(key: SoftwareKey): SoftwareKeys {
    return new SoftwareKeys([...this.#keys.values(), key]);
  }

  without(id: KeyId): SoftwareKeys {
    return new SoftwareKeys([...this.#keys.values()].filter((key) => key.id !== id));
  }

  get(id: KeyId): SoftwareKey | undefined {
    return this.#keys.get(id);
  }

  /** In ascending order of id. */
  all(): readonly SoftwareKey[] {
    return [...this.#keys.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  }

  list(): readonly KeyStoreEntry[] {
    return this.all().map(({ id, kind }) =>
      kind === 'root' ? { id, kind } : { id, kind: 'signing', algorithm: kind },
    );
  }

  /** @throws KEYSTORE_NO_SUCH_KEY */
  signingKey(id: KeyId): SigningKey {
    const { algorithm, privateKey } = this.#signer(id);
    return { id, algorithm, publicKey: publicKeyOf(algorithm, privateKey) };
  }

  /** @throws KEYSTORE_NO_SUCH_KEY, KEYSTORE_BAD_LENGTH */
  sign(id: KeyId, message: Uint8Array): Uint8Array {
    checkMessage(message);
    const { algorithm, privateKey } = this.#signer(id);
    if (algorithm === 'ed25519') return new Uint8Array(sign(null, message, privateKey));
    return lowS(
      new Uint8Array(sign('sha256', message, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
    );
  }

  /** @throws KEYSTORE_NO_SUCH_KEY, KEYSTORE_BAD_LENGTH */
  prf(root: KeyId, label: Uint8Array, length: number): Secret {
    checkPrf(label, length);
    const key = this.#keys.get(root);
    if (key?.kind !== 'root')
      throw new KeyStoreError('KEYSTORE_NO_SUCH_KEY', `no derivation root ${root}`);
    return Secret.take(hkdfExpand(key.secret.expose(), label, length));
  }

  wipe(): void {
    for (const key of this.#keys.values()) key.secret[Symbol.dispose]();
  }

  #signer(id: KeyId): { readonly algorithm: SigningAlgorithm; readonly privateKey: KeyObject } {
    const key = this.#keys.get(id);
    if (key === undefined || key.kind === 'root')
      throw new KeyStoreError('KEYSTORE_NO_SUCH_KEY', `no signing key ${id}`);
    return { algorithm: key.kind, privateKey: privateKeyOf(key.kind, key.secret) };
  }
}

export function generateSoftwareKey(kind: SoftwareKeyKind, rng: Rng): SoftwareKey {
  const id = keyIdOf(rng.bytes(KEY_ID_LENGTH));
  for (;;) {
    const secret = Secret.take(rng.bytes(SOFTWARE_SECRET_LENGTH));
    if (kind !== 'p256' || isP256Scalar(secret.expose())) return { id, kind, secret };
  }
}

function privateKeyOf(algorithm: SigningAlgorithm, secret: Secret): KeyObject {
  const bytes = secret.expose();
  const key = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return algorithm === 'ed25519'
    ? createPrivateKey({ key, format: 'raw-private', asymmetricKeyType: 'ed25519' })
    : createPrivateKey({
        key,
        format: 'raw-private',
        asymmetricKeyType: 'ec',
        namedCurve: 'P-256',
      });
}

function publicKeyOf(algorithm: SigningAlgorithm, privateKey: KeyObject): Uint8Array {
  const publicKey = createPublicKey(privateKey);
  return new Uint8Array(
    algorithm === 'ed25519'
      ? publicKey.export({ format: 'raw-public' })
      : publicKey.export({ format: 'raw-public', type: 'compressed' }),
  );
}
