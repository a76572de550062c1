/** What a desired device must satisfy before anything is changed for its sake. */
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import { WireGuardError } from './errors.ts';
import type { DesiredDevice, WireGuardKey } from './tunnel-driver.ts';
import {
  parseInterfaceAddress,
  parseInterfaceName,
  parseWireGuardKey,
  ZERO_KEY,
} from './values.ts';

/** The limit of wireguard-go; the kernel takes more. */
const MAX_PEERS = 65_536;
/** The least that IPv6 runs over, RFC 8200 5. */
const MIN_MTU = 1280;
const MAX_MTU = 65_535;
/** A host route may have less than a link (RFC 8200 5 is of links): the least that any IPv4 host takes, RFC 791 3.1. */
const MIN_ROUTE_MTU = 576;
const KEY_LENGTH = 32;

/**
 * @returns the device's own public key
 * @throws WIREGUARD_BAD_DEVICE, WIREGUARD_NO_PSK for a peer whose preshared key is missing or zero, WIREGUARD_BAD_VALUE
 */
export function checkDesiredDevice(desired: DesiredDevice): WireGuardKey {
  const { name } = desired;
  parseInterfaceName(name);
  within(name, 'listen port', desired.listenPort, 1, 65_535);
  within(name, 'MTU', desired.mtu, MIN_MTU, MAX_MTU);
  within(name, 'number of peers', desired.peers.length, 0, MAX_PEERS);
  for (const address of desired.addresses) {
    const text = parseInterfaceAddress(address);
    if (address !== text) throw bad(name, `address: expected ${text}, got ${address}`);
  }
  for (const route of desired.routes) plain(name, 'route', route);
  for (const mtu of desired.routeMtus?.values() ?? [])
    within(name, 'MTU of a route', mtu, MIN_ROUTE_MTU, MAX_MTU);
  const own = wireguardPublicKeyHex(desired.privateKey);
  checkPeers(desired, own);
  return own;
}

function checkPeers({ name, peers }: DesiredDevice, own: WireGuardKey): void {
  const keys = new Set<WireGuardKey>([own, ZERO_KEY]);
  const prefixes = new Set<string>();
  for (const peer of peers) {
    parseWireGuardKey(peer.publicKey);
    if (keys.has(peer.publicKey))
      throw bad(
        name,
        'expected peers with keys of their own, got one twice, zero or that of the device',
      );
    keys.add(peer.publicKey);
    checkPresharedKey(name, peer.presharedKey.expose());
    within(name, 'keepalive', peer.keepalive, 0, 65_535);
    if (peer.endpoint !== undefined) plain(name, 'endpoint', peer.endpoint);
    for (const prefix of peer.allowedIps) {
      plain(name, 'allowed IP', prefix);
      if (prefixes.has(prefix))
        throw bad(name, `expected one owner of allowed IP ${prefix}, got two`);
      prefixes.add(prefix);
    }
  }
}

/** Zero means "none" to WireGuard: a peer without a preshared key would come up on X25519 alone. */
function checkPresharedKey(name: string, bytes: Uint8Array): void {
  if (bytes.length !== KEY_LENGTH || bytes.every((byte) => byte === 0))
    throw new WireGuardError(
      'WIREGUARD_NO_PSK',
      `${name}: expected a preshared key of 32 bytes that is not zero, got ${bytes.length} bytes`,
    );
}

/** Their types say that they were parsed; this says it again where a line end or an option would do harm. */
function plain(name: string, what: string, text: string): void {
  if (!/^[0-9a-f:[][0-9A-Za-z.:/%_\]-]*$/.test(text))
    throw bad(name, `${what}: expected a parsed value, got ${JSON.stringify(text.slice(0, 64))}`);
}

function within(name: string, what: string, value: number, least: number, most: number): void {
  if (!Number.isInteger(value) || value < least || value > most)
    throw bad(name, `${what}: expected ${least} to ${most}, got ${value}`);
}

function bad(name: string, message: string): WireGuardError {
  return new WireGuardError('WIREGUARD_BAD_DEVICE', `${name}: ${message}`);
}
