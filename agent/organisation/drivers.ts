/** What of the world an agent touches: real in `compose.ts`, simulated in `test/support/`. */

import type { EventReference } from '#kel/key-state/key-state';
import type { LogFiles } from '#src/audit/log-files';
import type { Clock } from '#src/clock';
import type { CryptoSuite } from '#src/crypto/suite';
import type { Journal } from '#src/journal';
import type { KeyStore } from '#src/keystore/key-store';
import type { ReadUnderlay } from '#src/net/underlay';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import type { Database } from '#src/store/durable-table';
import type { Relay } from '#src/wireguard/relay-program';
import type { TunnelDriver } from '#src/wireguard/tunnel-driver';
import type { WakeSocket } from '#src/wireguard/wake-socket';
import type { Ways } from '#src/wireguard/ways';
import type { FetchLog } from '../mesh/watch/log-source.ts';
import type { ResolveHost } from '../network/host-names.ts';
import type { Network } from '../network/network.ts';
import type { Overlay } from '../tunnel/proof/overlay.ts';
import type { DiskSpace } from './disk-space.ts';

/** What an organisation needs to speak for itself: no network, no privileges. */
export interface LocalDrivers {
  readonly clock: Clock;
  readonly rng: Rng;
  readonly suite: CryptoSuite;
  readonly db: Database;
  readonly keyStore: KeyStore;
  readonly logFiles: LogFiles;
  readonly journal: Journal;
  /** Of the state directory; none where there is no disk. */
  readonly disk?: () => DiskSpace;
  readonly former?: FormerCopy;
}

/** The state directory as an earlier version left it: a way back until the first own event, and of no use afterwards. */
export interface FormerCopy {
  /** End of the own log when it was copied; null before its first event, undefined where the copy does not say. */
  readonly head: EventReference | null | undefined;
  drop(): Promise<void>;
}

/** What a running agent needs beyond that. */
export interface RunningDrivers {
  /** @param seed 32-byte Ed25519 seed of the peer's network identity */
  network(seed: Secret): Promise<Network>;
  readonly tunnels: TunnelDriver;
  readonly overlay: Overlay;
  /** Where packets to tunnels that sleep are heard; absent: none sleeps. */
  readonly wakeSocket?: () => Promise<WakeSocket>;
  /** Where the system sends packets; absent: nobody can say. */
  readonly ways?: Ways;
  /** What the connections of this machine depend on; absent: it never changes. */
  readonly underlay?: ReadUnderlay;
  /** The relay of ciphertext that this machine can lend; absent: it has no program for it. */
  readonly relay?: Relay;
  /** Of names in `tunnel.endpoints`. */
  readonly resolveHost?: ResolveHost;
  /** Foreign logs over HTTP. */
  readonly fetchLog?: FetchLog;
}
