/** What a leaf certificate says about its holder. */
import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import * as x509 from '@peculiar/x509';

export interface CertificateNames {
  readonly dnsNames: readonly string[];
  readonly ipAddresses: readonly string[];
  readonly uris: readonly string[];
}

export function readNames(certificate: X509Certificate): CertificateNames {
  const parsed = new x509.X509Certificate(certificate.raw);
  const names = parsed.getExtension(x509.SubjectAlternativeNameExtension)?.names.items ?? [];
  const ofType = (type: string) => names.filter((one) => one.type === type).map((one) => one.value);
  return { dnsNames: ofType('dns'), ipAddresses: ofType('ip'), uris: ofType('url') };
}

/** DER inside the extension with this object identifier; undefined when the certificate has none. */
export function extensionValue(certificate: X509Certificate, oid: string): ArrayBuffer | undefined {
  return new x509.X509Certificate(certificate.raw).getExtension(oid)?.value;
}
