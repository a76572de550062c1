/** How far an IP address reaches (RFC 6890): what a machine elsewhere can do with it. */
import { parseIpAddress, unmapIpv4 } from './ip-address.ts';
import { type IpPrefix, isInPrefix, parseIpPrefix } from './ip-prefix.ts';

/** `none`: no machine is reached there, unspecified addresses and multicast. */
export type AddressScope = 'public' | 'private' | 'link' | 'loopback' | 'none';

const SCOPES: readonly (readonly [AddressScope, readonly IpPrefix[]])[] = [
  ['none', prefixes('0.0.0.0/8', '224.0.0.0/3', '::/128', 'ff00::/8')],
  ['loopback', prefixes('127.0.0.0/8', '::1/128')],
  ['link', prefixes('169.254.0.0/16', 'fe80::/10')],
  // Private use, what carriers put before their own translation (RFC 6598), and unique local addresses (RFC 4193).
  [
    'private',
    prefixes('10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', 'fc00::/7'),
  ],
];

/** @param text of an address  @returns undefined for what is none */
export function scopeOf(text: string): AddressScope | undefined {
  const parsed = parseIpAddress(text);
  if (parsed === undefined) return undefined;
  const bytes = unmapIpv4(parsed) ?? parsed;
  const found = SCOPES.find(([, ranges]) =>
    ranges.some((range) => range.bytes.length === bytes.length && isInPrefix(bytes, range)),
  );
  return found?.[0] ?? 'public';
}

function prefixes(...texts: readonly string[]): readonly IpPrefix[] {
  return texts.map((text) => {
    const prefix = parseIpPrefix(text);
    if (prefix === undefined) throw new RangeError(`expected a prefix, got ${text}`);
    return prefix;
  });
}
