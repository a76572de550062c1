/** Key algorithms of the inner layer. None is shared with the key event log unless the operator asks for it. */
import { createPrivateKey, webcrypto } from 'node:crypto';
import { Secret } from '#src/secret';

export type CertificateAlgorithm = 'p384' | 'p256' | 'ed25519';

type KeyPair = webcrypto.CryptoKeyPair;
type Key = webcrypto.CryptoKey;

interface AlgorithmNames {
  readonly key: { readonly name: string; readonly namedCurve?: string };
  readonly signature: { readonly name: string; readonly hash?: string };
}

const usages: webcrypto.KeyUsage[] = ['sign', 'verify'];

const algorithms: Readonly<Record<CertificateAlgorithm, AlgorithmNames>> = {
  p384: {
    key: { name: 'ECDSA', namedCurve: 'P-384' },
    signature: { name: 'ECDSA', hash: 'SHA-384' },
  },
  p256: {
    key: { name: 'ECDSA', namedCurve: 'P-256' },
    signature: { name: 'ECDSA', hash: 'SHA-256' },
  },
  ed25519: { key: { name: 'Ed25519' }, signature: { name: 'Ed25519' } },
};

/** Fresh from the system's generator: WebCrypto takes no other. The private key can be exported. */
export async function generateKeyPair(algorithm: CertificateAlgorithm): Promise<KeyPair> {
  const key = await webcrypto.subtle.generateKey(algorithms[algorithm].key, true, usages);
  return key as KeyPair;
}

/** @param pkcs8 DER; the caller wipes it  @throws when it is no private key of `algorithm` */
export function importPrivateKey(algorithm: CertificateAlgorithm, pkcs8: Uint8Array): Key {
  // A view, not a copy: the bytes are secret.
  const der = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.length);
  const key = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
  return key.toCryptoKey(algorithms[algorithm].key, false, ['sign']);
}

/** @returns PKCS#8, DER */
export async function exportPrivateKey(key: Key): Promise<Secret> {
  return Secret.take(new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', key)));
}

/** How a key of this algorithm signs certificates. */
export function signatureOf(algorithm: CertificateAlgorithm): AlgorithmNames['signature'] {
  return algorithms[algorithm].signature;
}

/** Undefined for a key that the inner layer does not use, such as RSA. */
export function algorithmOf(key: Key): CertificateAlgorithm | undefined {
  const { name, namedCurve } = key.algorithm as AlgorithmNames['key'];
  return (Object.keys(algorithms) as CertificateAlgorithm[]).find((each) => {
    const wanted = algorithms[each].key;
    return wanted.name === name && wanted.namedCurve === namedCurve;
  });
}
