/**
 * Names in certificates as bytes (GeneralName, RFC 5280 4.2.1.6). Text becomes one of these once; what is checked against
 * bounds, written into a certificate and printed is the same value.
 */

import { equalBytes, utf8 } from '#src/bytes';
import { type IpPrefix, ipPrefix, maskOf } from '../net/ip-prefix.ts';
import { type DerElement, writeDer } from './der.ts';
import { MtlsError } from './errors.ts';

export type GeneralName =
  /** IA5String. In name constraints a host, domain or mailbox: what a name must end in. */
  | { readonly kind: 'dns' | 'email' | 'uri'; readonly value: string }
  /** 4 or 16 bytes. */
  | { readonly kind: 'ip'; readonly bytes: Uint8Array }
  /** Directory names, registered identifiers and the rest: nothing here reads them. */
  | { readonly kind: 'other'; readonly tag: number };

/** In name constraints an address stands with its mask. */
export type NameBound =
  | Exclude<GeneralName, { kind: 'ip' }>
  | (IpPrefix & { readonly kind: 'ip' })
  /** A mask with holes, or an IPv4-mapped range: implementations read it differently. */
  | { readonly kind: 'odd-ip' };

const tags = { email: 0x81, dns: 0x82, uri: 0x86, ip: 0x87 } as const;
const kinds = new Map<number, 'dns' | 'email' | 'uri'>([
  [tags.email, 'email'],
  [tags.dns, 'dns'],
  [tags.uri, 'uri'],
]);

export function encodeGeneralName(name: Exclude<GeneralName, { kind: 'other' }>): Uint8Array {
  return writeDer(tags[name.kind], name.kind === 'ip' ? name.bytes : utf8(name.value));
}

export function encodeNameBound(
  bound: Exclude<NameBound, { kind: 'other' | 'odd-ip' }>,
): Uint8Array {
  if (bound.kind !== 'ip') return encodeGeneralName(bound);
  return writeDer(tags.ip, bound.bytes, maskOf(bound.bytes.length, bound.length));
}

/** @throws MTLS_BAD_CERTIFICATE */
export function decodeGeneralName(element: DerElement): GeneralName {
  const { tag, content } = element;
  if (tag !== tags.ip) return decodeText(element);
  if (content.length !== 4 && content.length !== 16)
    throw bad(`an address of ${content.length} bytes`);
  return { kind: 'ip', bytes: content };
}

/** @throws MTLS_BAD_CERTIFICATE */
export function decodeNameBound(element: DerElement): NameBound {
  const { tag, content } = element;
  if (tag !== tags.ip) return decodeText(element);
  if (content.length !== 8 && content.length !== 32)
    throw bad(`an address and mask of ${content.length} bytes`);
  const mask = content.subarray(content.length / 2);
  // Bits behind the mask bind nothing.
  const bytes = content.subarray(0, mask.length).map((byte, i) => byte & (mask[i] as number));
  const length = mask.reduce((sum, byte) => sum + onesOf(byte), 0);
  const prefix = equalBytes(mask, maskOf(mask.length, length))
    ? ipPrefix(bytes, length)
    : undefined;
  return prefix === undefined ? { kind: 'odd-ip' } : { kind: 'ip', ...prefix };
}

function decodeText({ tag, content }: DerElement): Exclude<GeneralName, { kind: 'ip' }> {
  const kind = kinds.get(tag);
  if (kind === undefined) return { kind: 'other', tag };
  // Printable ASCII alone: what is behind a NUL or a line break has been read by one reader and not by another before.
  if (content.some((byte) => byte < 0x20 || byte > 0x7e)) throw bad(`a ${kind} name out of ASCII`);
  return { kind, value: Buffer.from(content).toString('latin1') };
}

function onesOf(byte: number): number {
  let ones = 0;
  for (let rest = byte; rest > 0; rest >>= 1) ones += rest & 1;
  return ones;
}

function bad(what: string): MtlsError {
  return new MtlsError('MTLS_BAD_CERTIFICATE', `certificate: it has ${what}`);
}
