/** A key store in memory whose keys follow from an Rng: the same seed gives the same identities in every run. */
import { KeyStoreError } from '#src/keystore/errors';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import {
  generateSoftwareKey,
  type SoftwareKeyKind,
  SoftwareKeys,
} from '#src/keystore/software-keys';
import type { Rng } from '#src/rng';

/** Ed25519 signatures are deterministic too; P-256 ones are not: OpenSSL draws their nonce itself. */
export function seededKeyStore(rng: Rng): KeyStore {
  let keys: SoftwareKeys | undefined = new SoftwareKeys();

  function opened(): SoftwareKeys {
    if (keys === undefined)
      throw new KeyStoreError('KEYSTORE_CLOSED', 'memory: the key store is closed');
    return keys;
  }

  function generate(kind: SoftwareKeyKind): KeyId {
    const key = generateSoftwareKey(kind, rng);
    keys = opened().with(key);
    return key.id;
  }

  return {
    description: { driver: 'sealed-file', location: 'memory' },
    generateSigningKey: async (algorithm: SigningAlgorithm = 'ed25519') => {
      const id = generate(algorithm);
      return opened().signingKey(id);
    },
    signingKey: async (id) => opened().signingKey(id),
    sign: async (id, message) => opened().sign(id, message),
    generateRoot: async () => generate('root'),
    prf: async (root, label, length) => opened().prf(root, label, length),
    destroy: async (id) => {
      const key = opened().get(id);
      keys = opened().without(id);
      key?.secret[Symbol.dispose]();
    },
    list: async () => opened().list(),
    close: async () => {
      keys?.wipe();
      keys = undefined;
    },
  };
}
