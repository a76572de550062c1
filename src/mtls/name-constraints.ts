/**
 * What a CA may certify (name constraints, RFC 5280 4.2.1.10).
 *
 * A form of name without a bound of its own is free. The forms that a peer or a service is told by here are DNS names, URIs
 * and IP addresses: a CA that is trusted must be bound in each. Nothing reads e-mail addresses and directory names; CAs
 * made here are bound in e-mail addresses too, and not in directory names, which TLS libraries such as Go's do not know
 * and then refuse the certificate.
 */
import { formatIpPrefix, type IpPrefix } from '../net/ip-prefix.ts';
import { derTags, readDer, readDerSequence, writeDer } from './der.ts';
import { type DnsName, isDnsName, isWithin } from './dns-name.ts';
import { MtlsError } from './errors.ts';
import { decodeNameBound, encodeNameBound, type NameBound } from './general-name.ts';

export interface NameBounds {
  /** The domains it may certify names of; empty when DNS names are free. */
  readonly domains: readonly DnsName[];
  /** The IP addresses it may certify, canonical text. */
  readonly ipRanges: readonly string[];
  readonly ipPrefixes: readonly IpPrefix[];
  /** Forms in which it could speak for others: none for a CA that may be trusted. */
  readonly unbounded: readonly NameForm[];
}

export type NameForm = 'DNS names' | 'URIs' | 'IP addresses';

/** A wider range is no bound. In bits: the private ranges 10.0.0.0/8 and fd00::/8 are the widest that make sense. */
const MIN_PREFIX_BITS = 8;
const MAX_BOUNDS = 256;
const PERMITTED = 0xa0;
const EXCLUDED = 0xa1;

/** @param domain of names, URIs and mailboxes  @returns DER of the extension's value */
export function encodeNameConstraints(
  domain: DnsName,
  ipPrefixes: readonly IpPrefix[],
): Uint8Array {
  const permitted: readonly Encodable[] = [
    { kind: 'dns', value: domain },
    { kind: 'uri', value: domain },
    { kind: 'email', value: domain },
    ...ipPrefixes.map((prefix) => ({ kind: 'ip' as const, ...prefix })),
  ];
  const isFree = (size: number) => !ipPrefixes.some(({ bytes }) => bytes.length === size);
  const excluded = [4, 16]
    .filter(isFree)
    .map((size) => ({ kind: 'ip' as const, bytes: new Uint8Array(size), length: 0 }));
  return writeDer(
    derTags.sequence,
    subtrees(PERMITTED, permitted),
    ...(excluded.length > 0 ? [subtrees(EXCLUDED, excluded)] : []),
  );
}

type Encodable = Exclude<NameBound, { kind: 'other' | 'odd-ip' }>;

function subtrees(tag: number, bounds: readonly Encodable[]): Uint8Array {
  return writeDer(
    tag,
    ...bounds.map((bound) => writeDer(derTags.sequence, encodeNameBound(bound))),
  );
}

/** Whether a range is narrow enough to bind a CA. */
export function isNarrow({ length }: IpPrefix): boolean {
  return length >= MIN_PREFIX_BITS;
}

/** @param der of the extension's value, attacker-controlled; undefined when there is none  @throws MTLS_BAD_CERTIFICATE */
export function readNameBounds(der: Uint8Array | undefined): NameBounds {
  const lists = der === undefined ? [] : readDerSequence(der);
  if (lists.some(({ tag }, i) => (tag !== PERMITTED && tag !== EXCLUDED) || tag <= tagAt(lists, i)))
    throw bad('its lists');
  const boundsIn = (tag: number) =>
    lists.filter((list) => list.tag === tag).flatMap((list) => readSubtrees(list.content));
  return boundsOf(boundsIn(PERMITTED), boundsIn(EXCLUDED));
}

function tagAt(lists: readonly { readonly tag: number }[], i: number): number {
  return lists[i - 1]?.tag ?? 0;
}

function readSubtrees(content: Uint8Array): readonly NameBound[] {
  const elements = readDer(content);
  if (elements.length === 0 || elements.length > MAX_BOUNDS) throw bad(`${elements.length} bounds`);
  return elements.map(({ tag, content: subtree }) => {
    const [base, ...more] = readDer(subtree);
    // RFC 5280: minimum is 0 and maximum absent; verifiers refuse the chain otherwise.
    if (tag !== derTags.sequence || base === undefined || more.length > 0)
      throw bad('a bound with distances');
    return decodeNameBound(base);
  });
}

function boundsOf(permitted: readonly NameBound[], excluded: readonly NameBound[]): NameBounds {
  const dnsBounds = valuesOf('dns', permitted).map(hostBound);
  const domains = dnsBounds.filter((domain) => domain !== undefined);
  const uriHosts = valuesOf('uri', permitted).map(hostBound);
  const isOwn = (host: DnsName | undefined) =>
    host !== undefined && domains.some((domain) => isWithin(host, domain));
  const ipPrefixes = prefixesIn(permitted);
  const unbounded: NameForm[] = [];
  if (dnsBounds.length === 0 || dnsBounds.includes(undefined)) unbounded.push('DNS names');
  if (uriHosts.length === 0 || !uriHosts.every(isOwn)) unbounded.push('URIs');
  if (
    permitted.some(({ kind }) => kind === 'odd-ip') ||
    !areAddressesBound(ipPrefixes, prefixesIn(excluded))
  )
    unbounded.push('IP addresses');
  return { domains, ipRanges: ipPrefixes.map(formatIpPrefix), ipPrefixes, unbounded };
}

/** Addresses are one form, whatever their family: ranges of one shut out the other (RFC 5280, and so OpenSSL). */
function areAddressesBound(permitted: readonly IpPrefix[], excluded: readonly IpPrefix[]): boolean {
  if (permitted.length > 0) return permitted.every(isNarrow);
  return [4, 16].every((size) =>
    excluded.some(({ bytes, length }) => bytes.length === size && length === 0),
  );
}

function valuesOf(kind: 'dns' | 'uri', bounds: readonly NameBound[]): readonly string[] {
  return bounds.flatMap((bound) => (bound.kind === kind ? [bound.value] : []));
}

function prefixesIn(bounds: readonly NameBound[]): readonly IpPrefix[] {
  return bounds.flatMap((bound) => (bound.kind === 'ip' ? [bound] : []));
}

/** A final part such as `.alba.example` binds no wider than the domain behind the dot. Undefined when no domain follows. */
function hostBound(value: string): DnsName | undefined {
  const host = value.replace(/^\./, '').toLowerCase();
  return isDnsName(host) ? host : undefined;
}

function bad(what: string): MtlsError {
  return new MtlsError('MTLS_BAD_CERTIFICATE', `name constraints: expected others than ${what}`);
}
