/** The host in a multiaddr, judged by its bytes, whatever its spelling. */
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '#src/net/ip-address';
import type { PeerAddress } from './network.ts';

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
