/** The libp2p node as a relay and as one that needs relays, for what decides about both. */
import type { Clock } from '#src/clock';
import { RELAY_PROTOCOL } from './circuit-policy.ts';
import { isRelayed } from './host-of.ts';
import type { Libp2pConnection, Libp2pNode } from './libp2p-node.ts';
import type { PeerAddress, PeerKey } from './network.ts';
import { addressText } from './peer-key.ts';
import type { RelayPlacesHost } from './relay-places.ts';

export interface RelayHostDeps {
  readonly node: Libp2pNode;
  readonly library: typeof import('./libp2p-node.ts');
  readonly clock: Clock;
  /** A member. */
  favours(peer: PeerKey): boolean;
  /** A place was given, or lost. */
  changed(): void;
}

/** What connected members offer is looked up so often at most. */
const SERVERS_MS = 1_000;

/** The node as `RelayPlaces` sees it. */
export function relayHost({
  node,
  library,
  clock,
  favours,
  changed,
}: RelayHostDeps): RelayPlacesHost {
  const direct = () =>
    node
      .getConnections()
      .filter(({ status, remoteAddr }) => status === 'open' && !isRelayed(addressText(remoteAddr)));
  const known = new Map<PeerKey, readonly PeerAddress[]>();
  const look = async () => {
    const connected = new Set(direct().map(({ remotePeer }) => keyOf(remotePeer)));
    for (const peer of known.keys()) if (!connected.has(peer)) known.delete(peer);
    for (const peer of [...connected].filter(favours)) {
      const found = await node.peerStore.get(library.toPeerId(peer)).catch(() => undefined);
      if (found?.protocols.includes(RELAY_PROTOCOL) !== true) continue;
      const told = found.addresses.map(({ multiaddr }) => addressText(multiaddr));
      known.set(
        peer,
        told.filter((address) => !isRelayed(address)),
      );
    }
    return [...known.keys()];
  };
  let latest: { readonly at: number; readonly servers: Promise<readonly PeerKey[]> } | undefined;
  return {
    clock,
    changed,
    self: keyOf(node.peerId),
    has: (relay) => node.services.relays.has(relay),
    reserve: (relay) => node.services.relays.reserve(relay),
    servers() {
      const now = clock.monotonic();
      if (latest === undefined || now - latest.at >= SERVERS_MS)
        latest = { at: now, servers: look() };
      return latest.servers;
    },
    addressesOf(relay) {
      const dialled = direct()
        .filter(
          ({ remotePeer, direction }) => keyOf(remotePeer) === relay && direction === 'outbound',
        )
        .map(({ remoteAddr }) => addressText(remoteAddr));
      const whole = [...dialled, ...(known.get(relay) ?? [])].map((address) =>
        address.includes('/p2p/') ? address : (`${address}/p2p/${relay}` as PeerAddress),
      );
      return [...new Set(whole)];
    },
  };
}

/** Circuits here whose beginning end is a stranger. */
export function strangerCircuits(
  node: { getConnections(): Libp2pConnection[] },
  favours: (peer: PeerKey) => boolean,
): number {
  return node
    .getConnections()
    .filter(({ remotePeer }) => !favours(keyOf(remotePeer)))
    .flatMap(({ streams }) => streams)
    .filter(({ protocol }) => protocol === RELAY_PROTOCOL).length;
}

function keyOf(peer: { toString(): string }): PeerKey {
  return peer.toString() as PeerKey;
}
