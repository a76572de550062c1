/** A certificate that nobody checks, for a server of TLS that has to show one. Its key is in memory alone, and goes with the process. */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const;
/** RFC 5280 4.1.2.5: the last moment of all, for what has no well-defined end; and one that is before any clock. */
const VALIDITY = {
  notBefore: new Date('2000-01-01T00:00:00Z'),
  notAfter: new Date('2049-12-31T23:59:59Z'),
};

/** @returns both as PEM: PKCS #8, and one X.509 certificate */
export async function selfSigned(): Promise<{ readonly key: string; readonly cert: string }> {
  const x509 = await import('@peculiar/x509');
  const provider = webcrypto as unknown as Crypto;
  const keys = await provider.subtle.generateKey(ALGORITHM, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    { name: 'CN=server', keys, signingAlgorithm: ALGORITHM, ...VALIDITY },
    provider,
  );
  const key = Buffer.from(await provider.subtle.exportKey('pkcs8', keys.privateKey));
  const pem = `-----BEGIN PRIVATE KEY-----\n${key.toString('base64')}\n-----END PRIVATE KEY-----\n`;
  key.fill(0);
  return { key: pem, cert: certificate.toString('pem') };
}
