/** What the certificate of a service that is in force certifies: a renewal that says nothing of it keeps it. */
import { X509Certificate } from 'node:crypto';
import { join } from 'node:path';
import { readNames } from '#src/mtls/names';
import { BACKDATE } from './ca.ts';
import { CaError } from './errors.ts';
import { issuedDirectory, readBounded } from './files.ts';

export interface InForce {
  /** Full, the service's own first. */
  readonly dnsNames: readonly string[];
  /** Canonical text. */
  readonly ips: readonly string[];
  /** Whole days that it was issued for, at least 1. */
  readonly days: number;
}

const DAY = 86_400_000;
const MAX_CHAIN_LENGTH = 64 * 1024;

/** @param name of the service, without the domain  @returns undefined where none was issued  @throws CA_CORRUPT, CA_IO */
export async function readInForce(dir: string, name: string): Promise<InForce | undefined> {
  const path = join(issuedDirectory(dir, name), 'current', 'chain.pem');
  const chain = await readBounded(path, MAX_CHAIN_LENGTH);
  if (chain === undefined) return undefined;
  try {
    const leaf = new X509Certificate(chain);
    const { dnsNames, ipAddresses: ips } = readNames(leaf.raw);
    const life = leaf.validToDate.getTime() - leaf.validFromDate.getTime() - BACKDATE;
    return { dnsNames, ips, days: Math.max(1, Math.round(life / DAY)) };
  } catch (cause) {
    throw new CaError('CA_CORRUPT', `${path}: it is no certificate, and its names are unknown`, {
      cause,
      hint: 'Issue it with `--anew` and every name, address and life that it shall have',
    });
  }
}
