/**
 * libp2p's circuit relay, version 2, as a way to others: what it is given and what it is asked beyond its interface.
 *
 * It would listen through whatever peer hands it a connection, and so announce an address of that peer's choice: here it listens
 * nowhere by itself. Which relays hold a place for this node is asked of its store of reservations, which is no part of its
 * interface: where a version has it not, no place is held, and a test says so.
 */
import { circuitRelayTransport } from '@libp2p/circuit-relay-v2';
import { peerIdFromString } from '@libp2p/peer-id';
import { RELAY_BOUNDS } from './circuit-policy.ts';
import type { PeerKey } from './network.ts';

type MakeTransport = ReturnType<typeof circuitRelayTransport>;
type PeerId = ReturnType<typeof peerIdFromString>;

interface Reservations {
  addRelay?(peer: PeerId, type: 'configured'): Promise<unknown>;
  hasReservation?(peer: PeerId): boolean;
  /** Those that failed once are never asked again, unless they are taken out. */
  readonly relayFilter?: { remove?(item: Uint8Array): unknown };
}

export interface RelayedWays {
  readonly transport: MakeTransport;
  reservations(): Reservations | undefined;
}

export function relayedWays(): RelayedWays {
  const make = circuitRelayTransport({
    maxInboundStopStreams: RELAY_BOUNDS.circuits,
    maxOutboundStopStreams: RELAY_BOUNDS.circuits,
  });
  let made: ReturnType<MakeTransport> | undefined;
  return {
    transport: (components) => {
      const listen = () => Promise.reject(new Error('places at relays are asked for elsewhere'));
      const { transportManager } = components;
      const guarded = Object.create(transportManager, { listen: { value: listen } });
      made = make(Object.create(components, { transportManager: { value: guarded } }));
      return made;
    },
    reservations: () => (made as { reservationStore?: Reservations } | undefined)?.reservationStore,
  };
}

export interface RelayKeeper {
  /** Rejects when the relay refuses, or does not answer. */
  reserve(relay: PeerKey): Promise<void>;
  has(relay: PeerKey): boolean;
}

export function relayKeeper({ reservations }: RelayedWays): RelayKeeper {
  return {
    async reserve(relay) {
      const [store, peer] = [reservations(), peerIdFromString(relay)];
      if (store?.addRelay === undefined) throw new Error('this version keeps no reservations');
      try {
        await store.addRelay(peer, 'configured');
      } catch (error) {
        store.relayFilter?.remove?.(peer.toMultihash().bytes);
        throw error;
      }
    },
    has: (relay) => reservations()?.hasReservation?.(peerIdFromString(relay)) === true,
  };
}
