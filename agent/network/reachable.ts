/** Which of the own addresses help others: none of loopback, and none inside the mesh. */
import type { Said } from '#kel/identifiers';
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
    return host !== '::1' && host?.startsWith('127.') !== true;
  });
  return reachable.length > 0 ? reachable : outside;
}

/** The IP address that a multiaddr begins with. */
export function hostOf(address: PeerAddress): string | undefined {
  return /^\/ip[46]\/([^/]+)\//.exec(address)?.[1];
}
