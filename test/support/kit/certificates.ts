/** Certificates of any make, as a stranger's tools would make them: with whatever names and bounds. */
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import { utf8 } from '#src/bytes';
import { writeDer } from '#src/mtls/der';
import { generateKeyPair } from '#src/mtls/key-algorithm';
import { oids } from '#src/mtls/names';

const HOUR = 3_600_000;
const P256 = { name: 'ECDSA', hash: 'SHA-256' } as const;

export interface MadeCertificate {
  readonly pem: string;
  readonly keys: webcrypto.CryptoKeyPair;
}

/** A name as it stands in SAN and in name constraints: a context tag and its content. */
export const names = {
  email: (text: string) => writeDer(0x81, utf8(text)),
  dns: (text: string) => writeDer(0x82, utf8(text)),
  directory: (commonName: string) =>
    writeDer(
      0xa4,
      new Uint8Array(new x509.Name([{ CN: [{ utf8String: commonName }] }]).toArrayBuffer()),
    ),
  uri: (text: string) => writeDer(0x86, utf8(text)),
  /** Addresses, and in constraints masks behind them. */
  ip: (...bytes: readonly number[]) => writeDer(0x87, Uint8Array.from(bytes)),
};

/** Value of the extension. */
export function constraintsOf(
  permitted: readonly Uint8Array[],
  excluded: readonly Uint8Array[] = [],
): Uint8Array {
  const list = (tag: number, bounds: readonly Uint8Array[]) =>
    bounds.length === 0 ? [] : [writeDer(tag, ...bounds.map((bound) => writeDer(0x30, bound)))];
  return writeDer(0x30, ...list(0xa0, permitted), ...list(0xa1, excluded));
}

export async function foreignCa(
  name: string,
  constraints: Uint8Array | undefined,
): Promise<MadeCertificate> {
  const keys = await generateKeyPair('p256');
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      name: `CN=${name}`,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + 24 * HOUR),
      signingAlgorithm: P256,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        ...(constraints === undefined ? [] : [extension(oids.nameConstraints, constraints)]),
      ],
    },
    webcrypto,
  );
  return { pem: `${certificate.toString('pem').trim()}\n`, keys };
}

export async function foreignLeaf(
  ca: MadeCertificate,
  alternativeNames: readonly Uint8Array[],
  subject = '',
): Promise<MadeCertificate> {
  const keys = await generateKeyPair('p256');
  const issuer = new x509.X509Certificate(ca.pem);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      subject,
      issuer: issuer.subject,
      notBefore: new Date(Date.now() - HOUR),
      notAfter: new Date(Date.now() + HOUR),
      publicKey: keys.publicKey,
      signingKey: ca.keys.privateKey,
      signingAlgorithm: P256,
      extensions: [
        new x509.ExtendedKeyUsageExtension([
          x509.ExtendedKeyUsage.serverAuth,
          x509.ExtendedKeyUsage.clientAuth,
        ]),
        await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
        extension(oids.subjectAltName, writeDer(0x30, ...alternativeNames)),
      ],
    },
    webcrypto,
  );
  return { pem: `${certificate.toString('pem').trim()}\n`, keys };
}

function extension(oid: string, value: Uint8Array): x509.Extension {
  return new x509.Extension(oid, true, value.slice().buffer);
}
