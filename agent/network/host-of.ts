/** The host in a multiaddr, judged by its bytes, whatever its spelling. */
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '#src/net/ip-address';
import type { PeerAddress, PeerKey } from './network.ts';

/** The IP address that a multiaddr begins with, as {@link canonicalHost} writes it; undefined for one that leads through a relay, whose host it is. */
export function hostOf(address: PeerAddress): string | undefined {
  if (isRelayed(address)) return undefined;
  const host = /^\/ip[46]\/([^/]+)\//.exec(address)?.[1];
  return host === undefined ? undefined : canonicalHost(host);
}

export function isRelayed(address: PeerAddress): boolean {
  return /\/p2p-circuit(\/|$)/.test(address);
}

/** Who passes on what comes from `address`; undefined: nobody, or it does not say. */
export function relayIn(address: PeerAddress): PeerKey | undefined {
  return /\/p2p\/([^/]+)\/p2p-circuit(\/|$)/.exec(address)?.[1] as PeerKey | undefined;
}

/** What shares places at the door: an IP address, or all that comes through one relay. */
export function sourceIn(address: PeerAddress): string | undefined {
  if (!isRelayed(address)) return hostOf(address);
  return `through ${relayIn(address) ?? 'a relay'}`;
}

/** An IP address in its one spelling, IPv4 within IPv6 as IPv4; any other text, such as a host name, as it is. */
export function canonicalHost(text: string): string {
  const bytes = parseIpAddress(text);
  return bytes === undefined ? text : formatIpAddress(unmapIpv4(bytes) ?? bytes);
}
