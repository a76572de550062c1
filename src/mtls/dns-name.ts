/** DNS names as they may stand in a certificate (RFC 1034 3.5, RFC 5280 4.2.1.6): lower case, no wildcard, no final dot. */
import type { Brand } from '#src/brand';
import { MtlsError } from './errors.ts';

export type DnsName = Brand<string, 'DnsName'>;

const MAX_LENGTH = 253;
const LABEL = '[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?';
// The last label is not all digits, so that no IPv4 address passes for a name.
const NAME = new RegExp(`^(?:${LABEL}\\.)*(?![0-9]+$)${LABEL}$`);

/** @throws MTLS_BAD_NAME */
export function parseDnsName(text: string): DnsName {
  if (!isDnsName(text)) {
    throw new MtlsError(
      'MTLS_BAD_NAME',
      `expected a DNS name, got ${JSON.stringify(text.slice(0, 80))}`,
    );
  }
  return text;
}

export function isDnsName(text: string): text is DnsName {
  return text.length <= MAX_LENGTH && NAME.test(text);
}

/** True when `name` is `domain` or below it. */
export function isWithin(name: DnsName, domain: DnsName): boolean {
  return name === domain || name.endsWith(`.${domain}`);
}
