/**
 * Overlay addresses: nobody assigns them, and an address says whose it is (DESIGN section 5).
 *
 * The mesh's /48 is `fd` and the first 40 bits of a hash of the mesh (RFC 4193 section 3.1); a node's
 * 80 bits within it are a hash of its AID.
 */
import type { Aid, Said } from '#kel/identifiers';
import { equalBytes } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import { meshPrefixLabel, overlayLabel } from '#src/crypto/labels';
import { formatIpAddress, parseIpAddress } from '#src/net/ip-address';
import type { Cidr } from '#src/wireguard/tunnel-driver';

/** The mesh's prefix: `fdxx:xxxx:xxxx::/48`. */
export function meshPrefix(mesh: Said): Cidr {
  return `${formatIpAddress(meshAddress(mesh))}/48` as Cidr;
}

/** 16 bytes: the prefix, and zeros behind it. */
function meshAddress(mesh: Said): Uint8Array {
  const address = new Uint8Array(16);
  address[0] = 0xfd;
  address.set(sha256(meshPrefixLabel(mesh)).subarray(0, 5), 1);
  return address;
}

/** Asked for every member whenever the devices are looked at: two hashes each time would be most of that look. */
const addresses = new Map<string, string>();
const MAX_ADDRESSES = 16_384;

/** The node's address, without prefix length. */
export function overlayAddress(mesh: Said, aid: Aid): string {
  const key = `${mesh}${aid}`;
  const known = addresses.get(key) ?? computedAddress(mesh, aid);
  if (addresses.size >= MAX_ADDRESSES) addresses.clear();
  addresses.set(key, known);
  return known;
}

function computedAddress(mesh: Said, aid: Aid): string {
  const address = meshAddress(mesh);
  address.set(sha256(overlayLabel(mesh, aid)).subarray(0, 10), 6);
  return formatIpAddress(address);
}

/** Whether an IP address, in any text form, is one of the mesh. */
export function isOverlayAddress(mesh: Said, address: string): boolean {
  const bytes = parseIpAddress(address);
  return bytes?.length === 16 && equalBytes(bytes.subarray(0, 6), meshAddress(mesh).subarray(0, 6));
}

/** The node's address as a host route. */
export function overlayRoute(mesh: Said, aid: Aid): Cidr {
  return `${overlayAddress(mesh, aid)}/128` as Cidr;
}
