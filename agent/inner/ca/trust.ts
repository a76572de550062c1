/** Whom this organisation's services talk to: its own CA, and those whose certificates a person has taken in. */
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { utf8 } from '#src/bytes';
import type { Clock } from '#src/clock';
import { type AtomicFileSteps, atomicFileSteps } from '#src/files/atomic-file';
import { type CaCertificate, parseCaBundle } from '#src/mtls/ca-certificate';
import { describeGenerations } from './ca.ts';
import { CaError } from './errors.ts';
import {
  io,
  listDirectory,
  readBounded,
  trustDirectory,
  withLock,
  writeFileSafely,
} from './files.ts';
import { planImport, type TrustImport, worksUntil } from './trust-import.ts';

export interface ImportOptions {
  readonly dir: string;
  /** PEM, as from `kelmesh ca export`. */
  readonly bundle: string;
  /**
   * SHA-256 of a CA in the bundle, 64 hex digits, that a person has from its owner by another way: this CA takes the place of
   * those that were trusted for its domain, without any proof of theirs.
   */
  readonly fingerprint?: string;
  readonly clock: Clock;
  readonly steps?: AtomicFileSteps;
}

const MAX_FILE_LENGTH = 128 * 1024;

/**
 * Trusts the CAs of a bundle, all or none. Taking in the same again changes nothing.
 * @returns what was taken in, and what is not trusted any more: those that have expired, and those whose successor came
 * without them
 * @throws MTLS_BAD_CERTIFICATE, MTLS_UNCONSTRAINED, CA_OVERLAP, CA_WRONG_FINGERPRINT, CA_TRUST_EXPIRED, CA_NOT_FOUND, CA_LOCKED, CA_IO
 */
export async function importBundle(options: ImportOptions): Promise<TrustImport> {
  const { dir, bundle, fingerprint, clock } = options;
  const offered = parseCaBundle(bundle);
  return withLock(dir, async () => {
    const own = await readOwn(dir);
    const others = await readOthers(dir);
    const change = planImport({ own, others, offered, fingerprint, now: clock.now() });
    // What a person has ended ends first. Otherwise the proof of succession is on disk before the old CA goes.
    if (fingerprint !== undefined) await remove(options, change.ended);
    await add(options, change.taken);
    if (fingerprint === undefined) await remove(options, change.ended);
    return change;
  });
}

async function add({ dir, steps }: ImportOptions, taken: readonly CaCertificate[]): Promise<void> {
  const folder = trustDirectory(dir);
  await io(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
  for (const { fingerprint, pem, crosses } of taken) {
    const text = [pem, ...crosses.map((cross) => cross.pem)].join('');
    await writeFileSafely(fileOf(dir, fingerprint), utf8(text), steps);
  }
}

async function remove(
  { dir, steps = atomicFileSteps }: Pick<ImportOptions, 'dir' | 'steps'>,
  ended: readonly CaCertificate[],
): Promise<void> {
  if (ended.length === 0) return;
  const folder = trustDirectory(dir);
  await io(folder, async () => {
    for (const { fingerprint } of ended) await rm(fileOf(dir, fingerprint), { force: true });
    await steps.syncDirectory(folder);
  });
}

/**
 * Whom a service trusts now; own CA first. Those of others that could speak for strangers count until {@link worksUntil}.
 * @throws CA_NOT_FOUND, CA_CORRUPT, CA_IO, MTLS_BAD_CERTIFICATE for a damaged file
 */
export async function readTrust(dir: string, clock: Clock): Promise<readonly CaCertificate[]> {
  const now = clock.now();
  const others = (await readOthers(dir)).filter((ca) => now < (worksUntil(ca) ?? ca.notAfter));
  return [...(await readOwn(dir)), ...others];
}

/** Every generation of the own CA, the one that issues first. */
async function readOwn(dir: string): Promise<readonly CaCertificate[]> {
  const { generations } = await describeGenerations(dir);
  const isCurrent = ({ role }: (typeof generations)[number]) => role === 'current';
  return [
    ...generations.filter(isCurrent),
    ...generations.filter((generation) => !isCurrent(generation)),
  ].map(({ ca }) => ca);
}

/** Those of others. @throws CA_CORRUPT, CA_IO, MTLS_BAD_CERTIFICATE for a damaged file */
export async function readOthers(dir: string): Promise<readonly CaCertificate[]> {
  const others: CaCertificate[] = [];
  for (const name of await listDirectory(trustDirectory(dir))) {
    if (/^[0-9a-f]{64}\.pem$/.test(name)) others.push(await readTrusted(dir, name.slice(0, 64)));
  }
  return others;
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

function fileOf(dir: string, fingerprint: string): string {
  return join(trustDirectory(dir), `${fingerprint}.pem`);
}
