/** CA certificates that others hand to us: read, checked, and only then a trust anchor. */
import { X509Certificate } from 'node:crypto';
import { AsnConvert } from '@peculiar/asn1-schema';
import { id_ce_nameConstraints, NameConstraints } from '@peculiar/asn1-x509';
import { type DnsName, parseDnsName } from './dns-name.ts';
import { MtlsError } from './errors.ts';
import { extensionValue } from './names.ts';

/** A CA that may become a trust anchor: self-signed, in its own bounds. Made only by {@link parseCaBundle}. */
export interface CaCertificate {
  readonly name: string;
  /** The domains it may certify names of; at least one. */
  readonly domains: readonly DnsName[];
  /** IP ranges it may certify: `10.1.0.0/16`. */
  readonly ipRanges: readonly string[];
  /** SHA-256 of the DER, 64 hex digits: what two people compare. */
  readonly fingerprint: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly pem: string;
}

const MAX_BUNDLE_LENGTH = 128 * 1024;
const MAX_CERTIFICATES = 16;
const BLOCK = /-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+\n-----END CERTIFICATE-----/g;

/**
 * One or more CA certificates in PEM; text around the blocks is ignored, blocks of any other kind are refused.
 * @throws MTLS_BAD_CERTIFICATE, MTLS_UNCONSTRAINED
 */
export function parseCaBundle(text: string): readonly CaCertificate[] {
  // attacker-controlled
  if (text.length > MAX_BUNDLE_LENGTH) {
    throw bad(`CA bundle: expected at most ${MAX_BUNDLE_LENGTH} characters, got ${text.length}`);
  }
  const plain = text.replaceAll('\r\n', '\n');
  const blocks = plain.match(BLOCK) ?? [];
  const begins = plain.split('-----BEGIN ').length - 1;
  if (blocks.length < 1 || blocks.length > MAX_CERTIFICATES || begins !== blocks.length) {
    throw bad(
      `CA bundle: expected 1 to ${MAX_CERTIFICATES} certificates and nothing else, got ${blocks.length} in ${begins} PEM blocks`,
    );
  }
  return blocks.map(parseCaCertificate);
}

function parseCaCertificate(block: string): CaCertificate {
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(block);
  } catch (cause) {
    throw bad('CA certificate: it cannot be read', cause);
  }
  const name = commonName(certificate);
  if (!certificate.ca) throw bad(`${name}: expected a CA certificate, got one of a service`);
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    throw bad(
      `${name}: expected a self-signed CA certificate, got one issued by ${oneLine(certificate.issuer)}`,
    );
  }
  const permitted = permittedNames(certificate, name);
  if (permitted.domains.length === 0) {
    throw new MtlsError(
      'MTLS_UNCONSTRAINED',
      `${name}: expected a CA bound to its own domain, got one that is not`,
    );
  }
  return {
    name,
    ...permitted,
    fingerprint: fingerprintOf(certificate),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    pem: certificate.toString().trim().concat('\n'),
  };
}

/** SHA-256 of the DER, 64 hex digits. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

function permittedNames(
  certificate: X509Certificate,
  name: string,
): Pick<CaCertificate, 'domains' | 'ipRanges'> {
  const value = extensionValue(certificate, id_ce_nameConstraints);
  if (value === undefined) return { domains: [], ipRanges: [] };
  try {
    const { permittedSubtrees } = AsnConvert.parse(value, NameConstraints);
    const bases = [...(permittedSubtrees ?? [])].map(({ base }) => base);
    return {
      domains: bases.flatMap(({ dNSName }) =>
        dNSName === undefined ? [] : [parseDnsName(dNSName.replace(/^\./, ''))],
      ),
      ipRanges: bases.flatMap(({ iPAddress }) => (iPAddress === undefined ? [] : [iPAddress])),
    };
  } catch (cause) {
    throw bad(`${name}: its name constraints cannot be read`, cause);
  }
}

function commonName(certificate: X509Certificate): string {
  const line = certificate.subject?.split('\n').find((each) => each.startsWith('CN='));
  return oneLine(line?.slice(3) ?? certificate.subject);
}

/** What stands in a message comes from a stranger's certificate: one line, bounded. */
export function oneLine(text: string | undefined): string {
  return JSON.stringify((text ?? '').replaceAll('\n', ', ').slice(0, 100)).slice(1, -1);
}

function bad(message: string, cause?: unknown): MtlsError {
  return new MtlsError('MTLS_BAD_CERTIFICATE', message, { cause });
}
