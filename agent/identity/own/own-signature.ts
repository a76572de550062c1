/** What the key store says and signs for a set of own keys, in the order of the log's key list. */
import { keyDigest } from '#kel/event/key-digest';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import { type KeySet, publicKeys } from './local-keys.ts';

/** A signature of the own keys with its place in the key list, as the codec wants it. */
export interface OwnSignature {
  readonly index: number;
  readonly raw: Uint8Array;
  readonly algorithm: SigningAlgorithm;
}

export async function signWith(
  keyStore: KeyStore,
  keys: KeySet,
  message: Uint8Array,
): Promise<readonly OwnSignature[]> {
  return Promise.all(
    keys.signing.map(async (id, index) => ({
      index,
      raw: await keyStore.sign(id, message),
      algorithm: (await keyStore.signingKey(id)).algorithm,
    })),
  );
}

export async function verificationKeys(keyStore: KeyStore, keys: KeySet) {
  return (await publicKeys(keyStore, keys)).map((key) =>
    encodeVerificationKey(key.algorithm, key.publicKey),
  );
}

export async function nextDigests(keyStore: KeyStore, keys: KeySet) {
  return (await verificationKeys(keyStore, keys)).map((key) => keyDigest(key));
}
