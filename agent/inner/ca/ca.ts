/**
 * An organisation's inner CA: a self-signed certificate bound to one domain, its key in a sealed file of its own.
 *
 * Nothing here derives from the key event log, the key store or the tunnels. Key pairs come from the system's
 * generator, because WebCrypto takes no other; `rng` gives salts, nonces and serial numbers.
 */
import { utf8 } from '#src/bytes';
import type { Clock } from '#src/clock';
import { defaultPassphraseCost, type PassphraseCost } from '#src/crypto/passphrase';
import type { AtomicFileSteps } from '#src/files/atomic-file';
import type { CaCertificate } from '#src/mtls/ca-certificate';
import { createCaCertificate } from '#src/mtls/certificate';
import { parseDnsName } from '#src/mtls/dns-name';
import {
  type CertificateAlgorithm,
  exportPrivateKey,
  generateKeyPair,
} from '#src/mtls/key-algorithm';
import { isNarrow } from '#src/mtls/name-constraints';
import { type IpPrefix, isInPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { MAX_CA_FILE_LENGTH, type RetiredGeneration } from './ca-file.ts';
import { CaError } from './errors.ts';
import { caCertificateFile, caFile, readBounded, withLock, writeFileSafely } from './files.ts';
import {
  type CaGeneration,
  type CaState,
  generationsOf,
  onlyCertificate,
  stateOf,
} from './generation.ts';
import { readCa } from './open-ca.ts';
import { newCost, passphraseKey, sealCa } from './sealed-ca.ts';

export interface CaOptions {
  /** Its own directory, made with mode 0700 when missing. */
  readonly dir: string;
  /** For people, 1 to 64 printable characters: `University Hospital`. */
  readonly name: string;
  /** The domain whose names it certifies; default `NAME.kelmesh.internal`, NAME in lower case with hyphens. */
  readonly domain?: string;
  /** IP ranges that it may certify too; default none. */
  readonly ipRanges?: readonly string[];
  readonly passphrase: Secret;
  readonly algorithm?: CertificateAlgorithm;
  /** Life of the CA in days, 1 to 3650; default 730. */
  readonly days?: number;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly cost?: PassphraseCost;
  readonly steps?: AtomicFileSteps;
}

const DAY = 86_400_000;

/** Clocks of peers differ: a certificate is valid a little before it is made. */
export const BACKDATE = 5 * 60_000;

/** @throws CA_EXISTS, CA_BAD_INPUT, CA_LOCKED, CA_IO, MTLS_BAD_NAME */
export async function initCa(options: CaOptions): Promise<CaCertificate> {
  const { dir, name, algorithm = 'p384', days = 730, ipRanges = [] } = options;
  if (!/^[\p{L}\p{N}\p{P}\p{S} ]{1,64}$/u.test(name)) {
    throw new CaError(
      'CA_BAD_INPUT',
      `name: expected 1 to 64 printable characters, got ${JSON.stringify(name.slice(0, 80))}`,
    );
  }
  checkDays(days, 3650);
  const ipPrefixes = ipRanges.map(parseIpRange);
  const domain = parseDnsName(options.domain ?? defaultDomain(name));
  return withLock(dir, async () => {
    if ((await readBounded(caFile(dir), MAX_CA_FILE_LENGTH)) !== undefined) {
      throw new CaError('CA_EXISTS', `${dir}: there is a CA already`);
    }
    const now = options.clock.now();
    const keys = await generateKeyPair(algorithm);
    const certificate = await createCaCertificate(
      {
        name,
        domain,
        ipPrefixes,
        serial: newSerial(options.rng),
        notBefore: now - BACKDATE,
        notAfter: now + days * DAY,
      },
      algorithm,
      keys,
    );
    const made = onlyCertificate(certificate);
    using pkcs8 = await exportPrivateKey(keys.privateKey);
    const cost = newCost(options.cost ?? defaultPassphraseCost, options.rng);
    using key = await passphraseKey(options.passphrase, cost);
    const first = {
      number: 1,
      algorithm,
      preparedAt: now,
      activatedAt: now,
      issuedUntil: 0,
      certificate,
      cross: '',
    };
    const content = { ...cost, issuing: 0, generations: [first], retired: [] };
    const bytes = sealCa(content, [pkcs8], key, options.rng);
    await writeFileSafely(caFile(dir), bytes, options.steps);
    await writeFileSafely(caCertificateFile(dir), utf8(certificate), options.steps);
    return made;
  });
}

/** The generation that issues; needs no passphrase. @throws CA_NOT_FOUND, CA_CORRUPT, CA_IO */
export async function describeCa(dir: string): Promise<CaCertificate> {
  const { generations, issuing } = await readCa(dir);
  const { certificate, cross } = generations[issuing] as (typeof generations)[number];
  return onlyCertificate(certificate + cross);
}

export interface CaDescription {
  readonly state: CaState;
  /** The older first. */
  readonly generations: readonly CaGeneration[];
  readonly retired: readonly RetiredGeneration[];
}

/** All generations, and the receipts of those that are gone; needs no passphrase. @throws as {@link describeCa} */
export async function describeGenerations(dir: string): Promise<CaDescription> {
  const file = await readCa(dir);
  return { state: stateOf(file), generations: generationsOf(file), retired: file.retired };
}

/**
 * What to hand to others, PEM: CA certificates, the older first, then cross certificates. They compare the fingerprint by
 * another way, unless they trust a former generation: then the cross certificate speaks for the next.
 * In this order the text serves as a CA file of OpenSSL too, which takes the first certificate that fits.
 * @throws as {@link describeCa}
 */
export async function exportBundle(dir: string, clock: Clock): Promise<string> {
  const generations = generationsOf(await readCa(dir));
  const now = clock.now();
  const anchors = generations.filter(({ role, ca }) => role === 'current' || now < ca.notAfter);
  const crosses = anchors.flatMap(({ ca }) => ca.crosses).filter(({ notAfter }) => now < notAfter);
  return [...anchors.map(({ ca }) => ca), ...crosses].map(({ pem }) => pem).join('');
}

/** 126 random bits, positive and of full length in DER: 32 hex digits. */
export function newSerial(rng: Rng): string {
  const bytes = rng.bytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return Buffer.from(bytes).toString('hex');
}

/** @throws CA_BAD_INPUT unless it is above 0 and at most `most` */
export function checkDays(days: number, most: number): void {
  if (!(days > 0 && days <= most)) {
    throw new CaError(
      'CA_BAD_INPUT',
      `days: expected more than 0 and at most ${most}, got ${days}`,
    );
  }
}

/** True when one of the ranges of the CA covers `address`, 4 or 16 bytes. */
export function coversAddress(ca: CaCertificate, address: Uint8Array): boolean {
  return ca.ipPrefixes.some((prefix) => isInPrefix(address, prefix));
}

function parseIpRange(range: string): IpPrefix {
  const prefix = parseIpPrefix(range);
  if (prefix === undefined || !isNarrow(prefix)) {
    throw new CaError(
      'CA_BAD_INPUT',
      `IP range: expected ADDRESS/PREFIX, no wider than /8, with zeros behind the prefix, got ${JSON.stringify(range.slice(0, 60))}`,
    );
  }
  return prefix;
}

function defaultDomain(name: string): string {
  const label = name
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
    .slice(0, 63)
    .replace(/-+$/, '');
  return `${label}.kelmesh.internal`;
}
