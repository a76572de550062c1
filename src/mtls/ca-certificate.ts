/** CA certificates that others hand to us: read, checked, and only then a trust anchor. */
import { X509Certificate } from 'node:crypto';
import { equalBytes } from '#src/bytes';
import { MtlsError } from './errors.ts';
import { type NameBounds, readNameBounds } from './name-constraints.ts';
import { extensionValue, oids } from './names.ts';

/**
 * A self-signed CA, with what it may certify; at least one domain. One that is `unbounded` in some form of name must not become
 * a trust anchor: {@link requireBounds}. Made only by {@link parseCaBundle}.
 */
export interface CaCertificate extends NameBounds {
  readonly name: string;
  /** SHA-256 of the DER, 64 hex digits: what two people compare. */
  readonly fingerprint: string;
  readonly notBefore: number;
  readonly notAfter: number;
  readonly pem: string;
  /** "New with old": its key, signed with that of a CA before it. Proof of nothing until {@link successionProof} says so. */
  readonly crosses: readonly CrossCertificate[];
}

export interface CrossCertificate {
  readonly notBefore: number;
  readonly notAfter: number;
  readonly pem: string;
}

const MAX_BUNDLE_LENGTH = 128 * 1024;
const MAX_CERTIFICATES = 16;
const MAX_CERTIFICATE_LENGTH = 32 * 1024;
/** Of one CA: the owner makes one. */
const MAX_CROSSES = 2;
const BLOCK = /-----BEGIN CERTIFICATE-----\n[A-Za-z0-9+/=\n]+\n-----END CERTIFICATE-----/g;

/**
 * One or more CA certificates in PEM, and cross certificates of theirs; text around the blocks is ignored, blocks of any
 * other kind are refused.
 * @returns the CAs, in their order  @throws MTLS_BAD_CERTIFICATE, MTLS_UNCONSTRAINED
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
  const certificates = blocks.map(readCertificate);
  const anchors = certificates.filter(isSelfSigned);
  const crosses = certificates.filter((certificate) => !anchors.includes(certificate));
  for (const cross of crosses) {
    if (!anchors.some((anchor) => isCrossOf(cross, anchor))) {
      throw bad(
        `${commonName(cross)}: expected a self-signed CA certificate, got one issued by ${oneLine(cross.issuer)}`,
      );
    }
  }
  return anchors.map((anchor) =>
    caCertificate(
      anchor,
      crosses.filter((cross) => isCrossOf(cross, anchor)),
    ),
  );
}

/**
 * The cross certificate by which `former` made `successor` the CA after it: same name, same bounds, signed with the key of
 * `former`. Undefined when there is none, or it is not valid at `now`; without `now` its time does not matter.
 */
export function successionProof(
  successor: CaCertificate,
  former: CaCertificate,
  now?: number,
): CrossCertificate | undefined {
  if (successor.crosses.length === 0 || successor.fingerprint === former.fingerprint)
    return undefined;
  const old = new X509Certificate(former.pem);
  if (!sameBounds(new X509Certificate(successor.pem), old)) return undefined;
  return successor.crosses.find(({ pem, notBefore, notAfter }) => {
    if (now !== undefined && (now < notBefore || now >= notAfter)) return false;
    const cross = new X509Certificate(pem);
    return cross.checkIssued(old) && cross.verify(old.publicKey);
  });
}

function readCertificate(block: string): X509Certificate {
  if (block.length > MAX_CERTIFICATE_LENGTH)
    throw bad(
      `CA certificate: expected at most ${MAX_CERTIFICATE_LENGTH} characters, got ${block.length}`,
    );
  let certificate: X509Certificate;
  try {
    certificate = new X509Certificate(block);
    // Read here, so that a key or a form that nobody knows is an error of the bundle.
    certificate.publicKey.type;
    extensionValue(certificate.raw, oids.nameConstraints);
  } catch (cause) {
    throw bad('CA certificate: it cannot be read', cause);
  }
  if (!certificate.ca)
    throw bad(`${commonName(certificate)}: expected a CA certificate, got one of a service`);
  return certificate;
}

function isSelfSigned(certificate: X509Certificate): boolean {
  return certificate.checkIssued(certificate) && certificate.verify(certificate.publicKey);
}

/** Only by what it says: who signed it is another matter. */
function isCrossOf(cross: X509Certificate, anchor: X509Certificate): boolean {
  return (
    cross.subject === cross.issuer &&
    cross.publicKey.equals(anchor.publicKey) &&
    sameBounds(cross, anchor)
  );
}

/** Same subject, and the same name constraints to the byte. */
function sameBounds(one: X509Certificate, other: X509Certificate): boolean {
  const constraints = (certificate: X509Certificate) =>
    extensionValue(certificate.raw, oids.nameConstraints) ?? new Uint8Array();
  return one.subject === other.subject && equalBytes(constraints(one), constraints(other));
}

function caCertificate(
  certificate: X509Certificate,
  crosses: readonly X509Certificate[],
): CaCertificate {
  const name = commonName(certificate);
  if (crosses.length > MAX_CROSSES)
    throw bad(`${name}: expected at most ${MAX_CROSSES} cross certificates, got ${crosses.length}`);
  const bounds = boundsOf(certificate, name);
  if (bounds.unbounded.includes('DNS names')) {
    throw new MtlsError(
      'MTLS_UNCONSTRAINED',
      `${name}: expected a CA bound to its own domain, got one that is not`,
    );
  }
  return {
    name,
    ...bounds,
    fingerprint: fingerprintOf(certificate),
    notBefore: certificate.validFromDate.getTime(),
    notAfter: certificate.validToDate.getTime(),
    pem: pemOf(certificate),
    crosses: crosses.map((cross) => ({
      notBefore: cross.validFromDate.getTime(),
      notAfter: cross.validToDate.getTime(),
      pem: pemOf(cross),
    })),
  };
}

function pemOf(certificate: X509Certificate): string {
  return certificate.toString().trim().concat('\n');
}

/** SHA-256 of the DER, 64 hex digits. */
export function fingerprintOf(certificate: X509Certificate): string {
  return certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** @throws MTLS_UNCONSTRAINED for a CA that could speak for others in some form of name that is read here */
export function requireBounds({ name, unbounded }: CaCertificate): void {
  if (unbounded.length > 0)
    throw new MtlsError(
      'MTLS_UNCONSTRAINED',
      `${name}: expected a CA that is bound in DNS names, URIs and IP addresses, got one that is free in ${unbounded.join(' and ')}`,
    );
}

function boundsOf(certificate: X509Certificate, name: string): NameBounds {
  try {
    return readNameBounds(extensionValue(certificate.raw, oids.nameConstraints));
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
