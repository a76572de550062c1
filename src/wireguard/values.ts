/** The values of a WireGuard configuration: each has one text form, and only the functions here make them. */
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '../net/ip-address.ts';
import { formatIpPrefix, parseIpPrefix } from '../net/ip-prefix.ts';
import { WireGuardError } from './errors.ts';
import type { Cidr, InterfaceName, UdpEndpoint, WireGuardKey } from './tunnel-driver.ts';

const KEY_LENGTH = 32;
const MAX_TEXT = 64;

/** What a device without a private key reports as its public key. */
export const ZERO_KEY = '0'.repeat(2 * KEY_LENGTH) as WireGuardKey;

/**
 * @param text 1 to 15 characters of `[A-Za-z0-9_.-]`, not `.` or `..`, not beginning with `-`
 * @throws WIREGUARD_BAD_VALUE
 */
export function parseInterfaceName(text: string): InterfaceName {
  if (!/^[A-Za-z0-9_.][A-Za-z0-9_.-]{0,14}$/.test(text) || text === '.' || text === '..')
    throw bad('interface name', '1 to 15 characters of A-Z a-z 0-9 _ . -', text);
  return text as InterfaceName;
}

/** @param text 64 hex digits, lower case  @throws WIREGUARD_BAD_VALUE, without the text: it may be a private key */
export function parseWireGuardKey(text: string): WireGuardKey {
  if (!/^[0-9a-f]{64}$/.test(text))
    throw bad('WireGuard key', '64 lower-case hex digits', `${text.length} characters`);
  return text as WireGuardKey;
}

/** @param bytes 32 bytes, a public key  @throws WIREGUARD_BAD_VALUE */
export function wireGuardKeyOfBytes(bytes: Uint8Array): WireGuardKey {
  if (bytes.length !== KEY_LENGTH) throw bad('WireGuard key', '32 bytes', `${bytes.length}`);
  return bytes.toHex() as WireGuardKey;
}

/** @returns 32 bytes */
export function wireGuardKeyBytes(key: WireGuardKey): Uint8Array {
  return Uint8Array.fromHex(key);
}

/** @param text 44 characters of base64, the form of `wg`  @throws WIREGUARD_BAD_VALUE, without the text */
export function parseBase64Key(text: string): WireGuardKey {
  return wireGuardKeyOfBytes(base64KeyBytes(text));
}

/** Base64 as `wg` prints it, 44 characters. */
export function formatBase64Key(key: WireGuardKey): string {
  return wireGuardKeyBytes(key).toBase64();
}

/**
 * @param text address and port; a link-local IPv6 address may carry a zone
 * @returns canonical text: RFC 5952, `::ffff:0:0/96` as IPv4  @throws WIREGUARD_BAD_VALUE
 */
export function parseUdpEndpoint(text: string): UdpEndpoint {
  const fail = () => bad('UDP endpoint', '192.0.2.1:51820 or [2001:db8::1]:51820', text);
  if (text.length > MAX_TEXT) throw fail();
  const match =
    /^(?:(?<v4>[0-9.]+)|\[(?<v6>[0-9a-fA-F:.]+)(?<zone>%[A-Za-z0-9_.-]{1,15})?\]):(?<port>[1-9]\d{0,4})$/.exec(
      text,
    )?.groups;
  if (!match) throw fail();
  const { v4, v6, zone, port } = match;
  const bytes = parseIpAddress(v4 ?? v6 ?? '');
  if (!bytes || Number(port) > 65_535 || (v6 !== undefined) !== (bytes.length === 16)) throw fail();
  if (zone !== undefined && !isLinkLocal(bytes)) throw fail();
  const plain = unmapIpv4(bytes) ?? bytes;
  const address = formatIpAddress(plain);
  return (
    plain.length === 4 ? `${address}:${port}` : `[${address}${zone ?? ''}]:${port}`
  ) as UdpEndpoint;
}

/** @returns canonical text  @throws WIREGUARD_BAD_VALUE, also when a bit outside the prefix is set */
export function parseCidr(text: string): Cidr {
  const prefix = parseIpPrefix(text);
  if (prefix === undefined)
    throw bad('CIDR', 'fd00::1/128 or 10.0.0.1/32, zero bits behind the prefix', text);
  return formatIpPrefix(prefix) as Cidr;
}

/** An address of a device with its prefix length, host bits allowed. @returns canonical text  @throws WIREGUARD_BAD_VALUE */
export function parseInterfaceAddress(text: string): string {
  const { bytes, length } = splitPrefix('interface address', text);
  return `${formatIpAddress(bytes)}/${length}`;
}

export function isIpv6Prefix(prefix: string): boolean {
  return prefix.includes(':');
}

function splitPrefix(what: string, text: string): { bytes: Uint8Array; length: number } {
  const fail = () => bad(what, 'fd00::1/128 or 10.0.0.1/32', text);
  if (text.length > MAX_TEXT) throw fail();
  const match = /^([0-9a-fA-F:.]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const bytes = parseIpAddress(match?.[1] ?? '');
  const length = Number(match?.[2]);
  // An IPv4-mapped prefix means two different things to two implementations: nobody needs one.
  if (!bytes || unmapIpv4(bytes) || length > 8 * bytes.length) throw fail();
  return { bytes, length };
}

function base64KeyBytes(text: string): Uint8Array {
  const fail = () => bad('WireGuard key', '44 characters of base64', `${text.length} characters`);
  if (!/^[A-Za-z0-9+/]{43}=$/.test(text)) throw fail();
  try {
    return Uint8Array.fromBase64(text, { lastChunkHandling: 'strict' });
  } catch {
    throw fail();
  }
}

function isLinkLocal(bytes: Uint8Array): boolean {
  return bytes.length === 16 && bytes[0] === 0xfe && ((bytes[1] ?? 0) & 0xc0) === 0x80;
}

function bad(what: string, expected: string, got: string): WireGuardError {
  return new WireGuardError(
    'WIREGUARD_BAD_VALUE',
    `${what}: expected ${expected}, got ${JSON.stringify(got.slice(0, MAX_TEXT))}`,
  );
}
