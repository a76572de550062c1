/**
 * The certificates of the inner layer (RFC 5280): a CA that can speak for its own domain alone, its successor, the cross
 * certificate from the one to the other, and short-lived leaves with their names in the SAN. No intermediate CA (path
 * length 0), no subject name in leaves.
 */
import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import * as x509 from '@peculiar/x509';
import type { IpPrefix } from '../net/ip-prefix.ts';
import { derTags, writeDer } from './der.ts';
import type { DnsName } from './dns-name.ts';
import { MtlsError } from './errors.ts';
import { encodeGeneralName } from './general-name.ts';
import { type CertificateAlgorithm, signatureOf } from './key-algorithm.ts';
import { encodeNameConstraints } from './name-constraints.ts';
import { oids } from './names.ts';

/** Milliseconds since the Unix epoch; certificates cut to whole seconds. */
interface Validity {
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface CaProfile extends Validity {
  /** For people: becomes the common name of subject and issuer, 1 to 64 characters. */
  readonly name: string;
  /** The one domain this CA may certify names of; also the host of its leaves' URIs. */
  readonly domain: DnsName;
  /** IP addresses it may certify; none when empty. */
  readonly ipPrefixes: readonly IpPrefix[];
  /** 32 hex digits, the first in 1..7 (RFC 5280 4.1.2.2: positive, at most 20 octets). */
  readonly serial: string;
}

export interface LeafProfile extends Validity {
  readonly dnsNames: readonly DnsName[];
  /** 4 or 16 bytes each. */
  readonly ipAddresses: readonly Uint8Array[];
  /** `kelmesh://DOMAIN/NAME`, exactly one. */
  readonly uri: string;
  readonly serial: string;
  readonly publicKey: webcrypto.CryptoKey;
}

export interface Issuer {
  /** PEM. */
  readonly certificate: string;
  readonly algorithm: CertificateAlgorithm;
  readonly privateKey: webcrypto.CryptoKey;
}

/** What a CA certificate and its successor have in common. */
interface CaSubject {
  readonly name: x509.Name;
  readonly constraints: x509.Extension;
}

/** Self-signed. @returns PEM */
export function createCaCertificate(
  profile: CaProfile,
  algorithm: CertificateAlgorithm,
  keys: webcrypto.CryptoKeyPair,
): Promise<string> {
  const subject = {
    name: new x509.Name([{ CN: [{ utf8String: profile.name }] }]),
    constraints: new x509.Extension(
      oids.nameConstraints,
      true,
      encodeNameConstraints(profile.domain, profile.ipPrefixes).slice().buffer,
    ),
  };
  return createSelfSigned(subject, profile, algorithm, keys);
}

export interface SuccessorProfile extends Validity {
  readonly serial: string;
}

/** Self-signed, with the name and the name constraints of `former`, PEM, to the byte. @returns PEM */
export function createSuccessorCertificate(
  former: string,
  profile: SuccessorProfile,
  algorithm: CertificateAlgorithm,
  keys: webcrypto.CryptoKeyPair,
): Promise<string> {
  return createSelfSigned(subjectOf(former), profile, algorithm, keys);
}

/**
 * "New with old" of RFC 4210 4.4: the key of the successor, signed with that of the former CA, so that whoever trusts the
 * former alone can follow. Subject and issuer have one name: a self-issued certificate counts in no path length (RFC 5280
 * 4.2.1.9), and its authority key identifier tells it from a self-signed one.
 * @returns PEM
 */
export async function createCrossCertificate(
  former: Issuer,
  successorKey: webcrypto.CryptoKey,
  profile: SuccessorProfile,
): Promise<string> {
  const issuer = new x509.X509Certificate(former.certificate);
  return createCa(subjectOf(former.certificate), profile, {
    publicKey: successorKey,
    signingKey: former.privateKey,
    algorithm: former.algorithm,
    extensions: [
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
    ],
  });
}

function subjectOf(certificate: string): CaSubject {
  const ca = new x509.X509Certificate(certificate);
  const constraints = ca.getExtension(oids.nameConstraints);
  if (constraints === null)
    throw new MtlsError('MTLS_UNCONSTRAINED', 'CA certificate: it has no name constraints');
  return { name: ca.subjectName, constraints };
}

function createSelfSigned(
  subject: CaSubject,
  profile: SuccessorProfile,
  algorithm: CertificateAlgorithm,
  { publicKey, privateKey }: webcrypto.CryptoKeyPair,
): Promise<string> {
  return createCa(subject, profile, {
    publicKey,
    signingKey: privateKey,
    algorithm,
    extensions: [],
  });
}

async function createCa(
  { name, constraints }: CaSubject,
  { serial, notBefore, notAfter }: SuccessorProfile,
  { publicKey, signingKey, algorithm, extensions }: CaKeys,
): Promise<string> {
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: serial,
      subject: name,
      issuer: name,
      notBefore: new Date(notBefore),
      notAfter: new Date(notAfter),
      publicKey,
      signingKey,
      signingAlgorithm: signatureOf(algorithm),
      extensions: [
        new x509.BasicConstraintsExtension(true, 0, true),
        new x509.KeyUsagesExtension(
          x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign,
          true,
        ),
        constraints,
        await x509.SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        ...extensions,
      ],
    },
    webcrypto,
  );
  return pem(certificate);
}

interface CaKeys {
  readonly publicKey: webcrypto.CryptoKey;
  readonly signingKey: webcrypto.CryptoKey;
  /** Of the signing key. */
  readonly algorithm: CertificateAlgorithm;
  readonly extensions: readonly x509.Extension[];
}

/** @returns PEM of the leaf alone */
export async function createLeafCertificate(profile: LeafProfile, issuer: Issuer): Promise<string> {
  const ca = new x509.X509Certificate(issuer.certificate);
  const certificate = await x509.X509CertificateGenerator.create(
    {
      serialNumber: profile.serial,
      subject: [],
      issuer: ca.subjectName,
      notBefore: new Date(profile.notBefore),
      notAfter: new Date(profile.notAfter),
      publicKey: profile.publicKey,
      signingKey: issuer.privateKey,
      signingAlgorithm: signatureOf(issuer.algorithm),
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
        new x509.ExtendedKeyUsageExtension(
          [x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth],
          false,
        ),
        // RFC 5280 4.2.1.6: critical, since the subject is empty.
        new x509.Extension(oids.subjectAltName, true, alternativeNames(profile).slice().buffer),
        await x509.AuthorityKeyIdentifierExtension.create(ca.publicKey, false, webcrypto),
        await x509.SubjectKeyIdentifierExtension.create(profile.publicKey, false, webcrypto),
      ],
    },
    webcrypto,
  );
  return pem(certificate);
}

/**
 * The public key of a certificate request (RFC 2986), whose signature proves that the asker holds the private
 * key. Names in the request are not looked at: the CA decides them.
 * @throws MTLS_BAD_CERTIFICATE
 */
export async function requestedKey(pemText: string): Promise<webcrypto.CryptoKey> {
  let key: webcrypto.CryptoKey | undefined;
  try {
    const request = new x509.Pkcs10CertificateRequest(pemText);
    if (await request.verify(webcrypto)) key = await request.publicKey.export(webcrypto);
  } catch (cause) {
    throw new MtlsError('MTLS_BAD_CERTIFICATE', 'certificate request: it cannot be read', {
      cause,
      hint: requestHint,
    });
  }
  if (key === undefined) {
    throw new MtlsError(
      'MTLS_BAD_CERTIFICATE',
      'certificate request: its signature does not fit its public key',
      { hint: requestHint },
    );
  }
  return key;
}

const requestHint =
  'Make the request again, in PEM, with a P-384, P-256 or Ed25519 key: openssl req -new -key FILE -subj /';

function alternativeNames({ dnsNames, ipAddresses, uri }: LeafProfile): Uint8Array {
  return writeDer(
    derTags.sequence,
    ...dnsNames.map((value) => encodeGeneralName({ kind: 'dns', value })),
    ...ipAddresses.map((bytes) => encodeGeneralName({ kind: 'ip', bytes })),
    encodeGeneralName({ kind: 'uri', value: uri }),
  );
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString('pem').trim()}\n`;
}
