/** Which of the own addresses help others: none of loopback, and none inside the mesh. Judged by its bytes, whatever its spelling. */
import type { Said } from '#kel/identifiers';
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '#src/net/ip-address';
import { isOverlayAddress } from '../membership/overlay-address.ts';
import type { PeerAddress } from './network.ts';

/**
 * Control never depends on the tunnel that it controls, so overlay addresses are left out. Loopback counts when
 * there is nothing else: agents of one host.
 */
export function reachableAddresses(
  addresses: readonly PeerAddress[],
  mesh: Said | undefined,
): readonly PeerAddress[] {
  const outside = addresses.filter((address) => {
    const host = hostOf(address);
    return host === undefined || mesh === undefined || !isOverlayAddress(mesh, host);
  });
  const reachable = outside.filter((address) => {
    const host = hostOf(address);
    return host === undefined || !isLoopback(host);
  });
  return reachable.length > 0 ? reachable : outside;
}

/** The IP address that a multiaddr begins with, as {@link canonicalHost} writes it. */
export function hostOf(address: PeerAddress): string | undefined {
  const host = /^\/ip[46]\/([^/]+)\//.exec(address)?.[1];
  return host === undefined ? undefined : canonicalHost(host);
}

/** An IP address in its one spelling, IPv4 within IPv6 as IPv4; any other text, such as a host name, as it is. */
export function canonicalHost(text: string): string {
  const bytes = parseIpAddress(text);
  return bytes === undefined ? text : formatIpAddress(unmapIpv4(bytes) ?? bytes);
}

/** @param host from {@link canonicalHost} */
function isLoopback(host: string): boolean {
  return host === '::1' || (parseIpAddress(host)?.length === 4 && host.startsWith('127.'));
}
