/**
 * Certificates of services: short-lived, issued into `issued/NAME/SERIAL/`, with the link `issued/NAME/current`
 * switched last. So a service that reads `current` finds a key and a chain that belong together, always. The
 * generation before stays for a service that is just loading it; older ones go.
 */
import { KeyObject, type webcrypto, X509Certificate } from 'node:crypto';
import { mkdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '#src/bytes';
import type { Clock } from '#src/clock';
import type { AtomicFileSteps } from '#src/files/atomic-file';
import { type CaCertificate, fingerprintOf } from '#src/mtls/ca-certificate';
import { createLeafCertificate, requestedKey } from '#src/mtls/certificate';
import type { MtlsIdentity } from '#src/mtls/context';
import { type DnsName, isWithin, parseDnsName } from '#src/mtls/dns-name';
import { algorithmOf, type CertificateAlgorithm, generateKeyPair } from '#src/mtls/key-algorithm';
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '#src/net/ip-address';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { BACKDATE, checkDays, coversAddress, newSerial } from './ca.ts';
import { CaError } from './errors.ts';
import { io, issuedDirectory, listDirectory, readBounded, writeFileSafely } from './files.ts';
import { onlyCertificate } from './generation.ts';
import { type InForce, readInForce } from './in-force.ts';
import { issuerOf, MAX_LEAF_LIFE, type OpenCa, withOpenCa } from './open-ca.ts';
import { readTrust } from './trust.ts';

export interface IssueOptions {
  readonly dir: string;
  readonly passphrase: Secret;
  /** The service: `records`, or the full name `records.hospital.example`. */
  readonly name: string;
  /** Further DNS names, short or full; default: those of the certificate in force. */
  readonly alternativeNames?: readonly string[];
  /** IP addresses, within the ranges of the CA; default: those of the certificate in force. */
  readonly ips?: readonly string[];
  /** Life, above 0 and at most 30; default: that of the certificate in force, else 1. */
  readonly days?: number;
  /** Nothing is taken over from the certificate in force. */
  readonly isAnew?: boolean;
  /** Of a new key; default that of the CA. */
  readonly algorithm?: CertificateAlgorithm;
  /** PEM of a certificate request: then the private key stays where it is, and only the certificate is made. */
  readonly csr?: string;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly steps?: AtomicFileSteps;
}

export interface IssuedCertificate {
  /** Of the service, without the domain. */
  readonly name: string;
  readonly dnsNames: readonly DnsName[];
  /** Canonical text. */
  readonly ips: readonly string[];
  /** Names and addresses of the certificate that was in force, which this one lacks. */
  readonly dropped: readonly string[];
  /** `kelmesh://DOMAIN/NAME`. */
  readonly uri: string;
  readonly serial: string;
  /** SHA-256 of the DER, 64 hex digits. */
  readonly fingerprint: string;
  readonly notBefore: number;
  readonly notAfter: number;
  /** Leaf, then CA; after a rotation the cross certificate in its place, while it is valid. */
  readonly chainFile: string;
  /** PKCS#8, mode 0600; undefined after a certificate request. */
  readonly keyFile: string | undefined;
}

const DAY = 86_400_000;
const MAX_DAYS = MAX_LEAF_LIFE / DAY;
const MAX_FILE_LENGTH = 64 * 1024;

/** @throws CA_NOT_FOUND, CA_WRONG_PASSPHRASE, CA_EXPIRED, CA_BAD_INPUT, CA_NOT_PERMITTED, CA_CORRUPT, CA_LOCKED, CA_IO, MTLS_BAD_NAME, MTLS_BAD_CERTIFICATE */
export async function issueCertificate(options: IssueOptions): Promise<IssuedCertificate> {
  checkDays(options.days ?? 1, MAX_DAYS);
  return withOpenCa(options, (ca) => issueFrom(ca, options));
}

async function issueFrom(open: OpenCa, options: IssueOptions): Promise<IssuedCertificate> {
  const { dir } = options;
  const generation = open.issuing;
  const ca = onlyCertificate(generation.certificate + generation.cross);
  const issuer = issuerOf(generation);
  const now = options.clock.now();
  if (now < ca.notBefore || now >= ca.notAfter) {
    throw new CaError(
      'CA_EXPIRED',
      `CA ${ca.name}: valid until ${iso(ca.notAfter)}, now is ${iso(now)}`,
    );
  }
  const name = shortName(ca, fullName(ca, options.name));
  const former = await readInForce(dir, name).catch((error: unknown) => {
    if (options.isAnew === true) return undefined;
    throw error;
  });
  const kept = options.isAnew === true ? undefined : former;
  const { alternativeNames = kept?.dnsNames ?? [], ips = kept?.ips ?? [] } = options;
  const days = options.days ?? Math.min(kept?.days ?? 1, MAX_DAYS);
  const dnsNames = [
    ...new Set([options.name, ...alternativeNames].map((text) => fullName(ca, text))),
  ];
  const ipAddresses = ips.map((text) => permittedAddress(ca, text));
  const { publicKey, privateKey } = await keyFor(options, issuer.algorithm);
  const profile = {
    dnsNames,
    ipAddresses,
    uri: `kelmesh://${ca.domains[0]}/${name}`,
    serial: newSerial(options.rng),
    // Whole seconds, as in the certificate; never longer than the CA itself.
    notBefore: Math.max(wholeSeconds(now - BACKDATE), ca.notBefore),
    notAfter: Math.min(wholeSeconds(now + days * DAY), ca.notAfter),
  };
  const leaf = await createLeafCertificate({ ...profile, publicKey }, issuer);
  // Known before anyone can hold the certificate: the generation is not retired before it has run out.
  await noteIssued(open, profile.notAfter);
  const directory = issuedDirectory(dir, name);
  using key = privateKey;
  await store(directory, profile.serial, leaf + issuerChain(ca, now), key, options.steps);
  const current = join(directory, 'current');
  return {
    name,
    dnsNames,
    ips: ipAddresses.map(formatIpAddress),
    dropped: droppedFrom(former, dnsNames, ipAddresses.map(formatIpAddress)),
    uri: profile.uri,
    serial: profile.serial,
    fingerprint: fingerprintOf(new X509Certificate(leaf)),
    notBefore: profile.notBefore,
    notAfter: profile.notAfter,
    chainFile: join(current, 'chain.pem'),
    keyFile: key === undefined ? undefined : join(current, 'key.pem'),
  };
}

function droppedFrom(
  former: InForce | undefined,
  dnsNames: readonly string[],
  ips: readonly string[],
): readonly string[] {
  const now = new Set([...dnsNames, ...ips]);
  return [...(former?.dnsNames ?? []), ...(former?.ips ?? [])].filter((text) => !now.has(text));
}

async function noteIssued(open: OpenCa, notAfter: number): Promise<void> {
  const { content, issuing } = open;
  if (notAfter <= issuing.issuedUntil) return open.writeCertificates();
  const generations = content.generations.map((each) =>
    each === issuing ? { ...each, issuedUntil: notAfter } : each,
  );
  await open.write({ ...content, generations });
}

/**
 * What follows the leaf. The cross certificate takes those along who trust the former CA alone; then without the CA's own
 * certificate, which whoever trusts it has, and at which OpenSSL would stop looking for the way to the former one.
 */
function issuerChain(ca: CaCertificate, now: number): string {
  const cross = ca.crosses.find(({ notAfter }) => now < notAfter);
  return cross === undefined ? ca.pem : cross.pem;
}

/** What a service on this host needs to serve or to call: its present certificate and key, and whom this CA trusts. @throws CA_NO_SUCH_CERTIFICATE, CA_NOT_FOUND, CA_CORRUPT, CA_IO */
export async function serviceIdentity(
  dir: string,
  name: string,
  clock: Clock,
): Promise<MtlsIdentity> {
  const current = join(issuedDirectory(dir, parseDnsName(name)), 'current');
  const chain = await readBounded(join(current, 'chain.pem'), MAX_FILE_LENGTH);
  const key = await readBounded(join(current, 'key.pem'), MAX_FILE_LENGTH);
  if (chain === undefined || key === undefined) {
    throw new CaError('CA_NO_SUCH_CERTIFICATE', `${current}: there is no certificate with a key`);
  }
  return {
    cert: Buffer.from(chain).toString('latin1'),
    key: Secret.take(key),
    trust: (await readTrust(dir, clock)).map(({ pem }) => pem),
  };
}

async function keyFor(
  { csr, algorithm }: IssueOptions,
  fallback: CertificateAlgorithm,
): Promise<{ readonly publicKey: webcrypto.CryptoKey; readonly privateKey: Secret | undefined }> {
  if (csr !== undefined) {
    const publicKey = await requestedKey(csr);
    if (algorithmOf(publicKey) === undefined) {
      throw new CaError(
        'CA_BAD_INPUT',
        `certificate request: expected a P-384, P-256 or Ed25519 key, got ${publicKey.algorithm.name}`,
      );
    }
    return { publicKey, privateKey: undefined };
  }
  const keys = await generateKeyPair(algorithm ?? fallback);
  const pem = KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return { publicKey: keys.publicKey, privateKey: Secret.take(utf8(pem as string)) };
}

/** Below the domain of the CA; a name without dot is completed. @throws MTLS_BAD_NAME, CA_NOT_PERMITTED */
function fullName(ca: CaCertificate, text: string): DnsName {
  const name = parseDnsName(text.includes('.') ? text : `${text}.${ca.domains[0]}`);
  if (!ca.domains.some((domain) => isWithin(name, domain))) {
    throw new CaError(
      'CA_NOT_PERMITTED',
      `CA ${ca.name}: expected a name below ${ca.domains.join(', ')}, got ${name}`,
    );
  }
  return name;
}

function shortName(ca: CaCertificate, full: DnsName | undefined): string {
  return full?.slice(0, -`.${ca.domains[0]}`.length) || 'domain';
}

/** @returns 4 or 16 bytes, in a range of the CA  @throws CA_BAD_INPUT, also for a zone or an IPv4-mapped address; CA_NOT_PERMITTED */
function permittedAddress(ca: CaCertificate, text: string): Uint8Array {
  const address = parseIpAddress(text);
  if (address === undefined || unmapIpv4(address) !== undefined)
    throw new CaError(
      'CA_BAD_INPUT',
      `IP address: expected 10.1.2.3 or fd00::1, without zone and not IPv4 within IPv6, got ${JSON.stringify(text.slice(0, 60))}`,
    );
  if (!coversAddress(ca, address))
    throw new CaError(
      'CA_NOT_PERMITTED',
      `CA ${ca.name}: expected an address in ${ca.ipRanges.join(', ') || 'no range at all'}, got ${formatIpAddress(address)}`,
    );
  return address;
}

async function store(
  directory: string,
  serial: string,
  chain: string,
  key: Secret | undefined,
  steps: AtomicFileSteps | undefined,
): Promise<void> {
  const generation = join(directory, serial);
  const link = join(directory, 'current');
  await io(generation, () => mkdir(generation, { recursive: true, mode: 0o700 }));
  await writeFileSafely(join(generation, 'chain.pem'), utf8(chain), steps);
  if (key !== undefined) await writeFileSafely(join(generation, 'key.pem'), key.expose(), steps);
  await io(link, async () => {
    const previous = await readlink(link).catch(() => undefined);
    await rm(`${link}.tmp`, { force: true });
    await symlink(serial, `${link}.tmp`);
    await rename(`${link}.tmp`, link);
    const kept = [serial, previous, 'current'];
    for (const name of await listDirectory(directory)) {
      if (!kept.includes(name)) await rm(join(directory, name), { recursive: true, force: true });
    }
  });
}

function wholeSeconds(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}

function iso(ms: number): string {
  return new Date(ms).toISOString();
}
