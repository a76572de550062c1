/** Which of the own addresses help others: none of loopback, and none inside the mesh. Judged by its bytes, whatever its spelling. */
import type { Said } from '#kel/identifiers';
import { parseIpAddress } from '#src/net/ip-address';
import { hostOf } from '../../network/host-of.ts';
import type { PeerAddress } from '../../network/network.ts';
import { isOverlayAddress } from './overlay-address.ts';

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

/** @param host from {@link canonicalHost} */
function isLoopback(host: string): boolean {
  return host === '::1' || (parseIpAddress(host)?.length === 4 && host.startsWith('127.'));
}
