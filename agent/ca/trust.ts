/** Whom this organisation's services talk to: its own CA, and those whose certificates a person has taken in. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '#src/bytes';
import type { Clock } from '#src/clock';
import { type CaCertificate, parseCaBundle } from '#src/mtls/ca-certificate';
import { isWithin } from '#src/mtls/dns-name';
import { describeCa } from './ca.ts';
import { CaError } from './errors.ts';
import {
  io,
  listDirectory,
  readBounded,
  trustDirectory,
  withLock,
  writeFileSafely,
} from './files.ts';

export interface ImportOptions {
  readonly dir: string;
  /** PEM, as from `kelmesh ca export`. */
  readonly bundle: string;
  readonly clock: Clock;
}

const MAX_FILE_LENGTH = 64 * 1024;

/**
 * Trusts the CAs of a bundle, all or none. Taking in the same again changes nothing.
 * @returns what was taken in  @throws MTLS_BAD_CERTIFICATE, MTLS_UNCONSTRAINED, CA_OVERLAP, CA_TRUST_EXPIRED, CA_NOT_FOUND, CA_LOCKED, CA_IO
 */
export async function importBundle({
  dir,
  bundle,
  clock,
}: ImportOptions): Promise<readonly CaCertificate[]> {
  const offered = parseCaBundle(bundle);
  const folder = trustDirectory(dir);
  return withLock(dir, async () => {
    const trusted = [...(await readTrust(dir))];
    const fresh: CaCertificate[] = [];
    for (const ca of offered) {
      if (trusted.some(({ fingerprint }) => fingerprint === ca.fingerprint)) continue;
      if (ca.notAfter <= clock.now()) {
        throw new CaError(
          'CA_TRUST_EXPIRED',
          `CA ${ca.name}: valid until ${new Date(ca.notAfter).toISOString()}`,
        );
      }
      refuseOverlap(ca, trusted);
      trusted.push(ca);
      fresh.push(ca);
    }
    await io(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
    for (const ca of fresh) await writeFileSafely(fileOf(dir, ca.fingerprint), utf8(ca.pem));
    return fresh;
  });
}

/** Own CA first. @throws CA_NOT_FOUND, CA_CORRUPT, CA_IO, MTLS_BAD_CERTIFICATE for a damaged file */
export async function readTrust(dir: string): Promise<readonly CaCertificate[]> {
  const own = await describeCa(dir);
  const others: CaCertificate[] = [];
  for (const name of await listDirectory(trustDirectory(dir))) {
    if (/^[0-9a-f]{64}\.pem$/.test(name)) others.push(await readTrusted(dir, name.slice(0, 64)));
  }
  return [own, ...others];
}

async function readTrusted(dir: string, fingerprint: string): Promise<CaCertificate> {
  const path = fileOf(dir, fingerprint);
  const text = Buffer.from((await readBounded(path, MAX_FILE_LENGTH)) ?? []).toString('latin1');
  const [ca, ...more] = parseCaBundle(text);
  if (ca?.fingerprint !== fingerprint || more.length > 0) {
    throw new CaError(
      'CA_CORRUPT',
      `${path}: expected the certificate ${fingerprint.slice(0, 16)}, got another`,
    );
  }
  return ca;
}

/** Ends the trust; connections that stand are not cut. False when it was not there. @throws CA_BAD_INPUT, CA_LOCKED, CA_IO */
export async function removeTrust(dir: string, fingerprint: string): Promise<boolean> {
  if (!/^[0-9a-f]{64}$/.test(fingerprint)) {
    throw new CaError(
      'CA_BAD_INPUT',
      `fingerprint: expected 64 hex digits, got ${fingerprint.length} characters`,
    );
  }
  return withLock(dir, async () => {
    const known = (await listDirectory(trustDirectory(dir))).includes(`${fingerprint}.pem`);
    await io(dir, () => rm(fileOf(dir, fingerprint), { force: true }));
    return known;
  });
}

/** Two CAs for one domain could each certify the other's services: for a successor, end the trust in the old one first. */
function refuseOverlap(ca: CaCertificate, trusted: readonly CaCertificate[]): void {
  for (const other of trusted) {
    const shared = ca.domains.find((domain) =>
      other.domains.some((theirs) => isWithin(domain, theirs) || isWithin(theirs, domain)),
    );
    if (shared !== undefined) {
      throw new CaError(
        'CA_OVERLAP',
        `CA ${ca.name} and CA ${other.name} (${other.fingerprint.slice(0, 16)}) are both for ${shared}`,
      );
    }
  }
}

function fileOf(dir: string, fingerprint: string): string {
  return join(trustDirectory(dir), `${fingerprint}.pem`);
}
