/**
 * From the state of all pairs to the devices as they should be: pure, and the same input gives the same devices.
 *
 * An end that rotates runs one device per live tunnel key. A prefix has one owner per device (WireGuard's
 * allowed IPs), so two keys of one peer cannot share a device with the same prefix: the rotating end parks
 * the peer's route on its new device, the other end moves the prefix to the new key and starts the handshake.
 */
import type { Aid, Said } from '#kel/identifiers';
import { wireguardPublicKeyHex } from '#src/crypto/wireguard-key';
import type { Secret } from '#src/secret';
import type {
  Cidr,
  DesiredDevice,
  DesiredPeer,
  InterfaceName,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';

/** One view of a pair with everything that a device needs. */
export interface PairView {
  readonly own: Said;
  readonly peer: Said;
  readonly peerKey: WireGuardKey;
  /** Of the current epoch; random while nothing is agreed. */
  readonly presharedKey: Secret;
  /** Set at the end that starts the handshakes of this view; the other learns it by roaming. */
  readonly endpoint: UdpEndpoint | undefined;
}

export interface PairState {
  readonly aid: Aid;
  /** The peer's overlay address as a host route. */
  readonly route: Cidr;
  /** The view that carries the traffic. */
  readonly active: PairView | undefined;
  /** The view that is to follow. */
  readonly target: PairView | undefined;
  /** The route points to the target's device, and the packets wait there for its handshake. */
  readonly parked: boolean;
  /** The view before the active one, while its last packets arrive. */
  readonly draining: PairView | undefined;
}

/** A device of the own end: one per live tunnel key. */
export interface OwnDevice {
  readonly tunnelKey: Said;
  readonly name: InterfaceName;
  readonly privateKey: Secret;
  readonly listenPort: number;
}

export interface DeviceSettings {
  readonly mtu: number;
  /** The own overlay address with prefix length. */
  readonly addresses: readonly string[];
  /** Persistent keepalive of the end that starts the handshakes, in seconds. */
  readonly keepalive: number;
}

export function desiredDevices(
  devices: readonly OwnDevice[],
  pairs: readonly PairState[],
  settings: DeviceSettings,
): readonly DesiredDevice[] {
  return devices.map((device) => ({
    name: device.name,
    privateKey: device.privateKey,
    listenPort: device.listenPort,
    mtu: settings.mtu,
    addresses: settings.addresses,
    peers: onePerKey(
      device,
      pairs.map((pair) => ({ pair, peers: peersOf(device.tunnelKey, pair, settings.keepalive) })),
    ),
    routes: pairs
      .filter((pair) => routedView(pair)?.own === device.tunnelKey)
      .map((pair) => pair.route),
  }));
}

interface PairPeers {
  readonly pair: PairState;
  readonly peers: readonly DesiredPeer[];
}

/**
 * WireGuard knows a peer by its key alone. A key that two pairs name, or that is the device's own, is left to
 * the pair whose traffic runs under it, else to the lower AID: one member's false claim must cost no other its tunnel.
 */
function onePerKey(device: OwnDevice, candidates: readonly PairPeers[]): readonly DesiredPeer[] {
  const owners = new Map<WireGuardKey, Aid | undefined>([
    [wireguardPublicKeyHex(device.privateKey), undefined],
  ]);
  const uses = ({ pair }: PairPeers, key: WireGuardKey) =>
    pair.active?.own === device.tunnelKey && pair.active.peerKey === key;
  const byAid = candidates.toSorted((a, b) => (a.pair.aid < b.pair.aid ? -1 : 1));
  for (const wantsActive of [true, false]) {
    for (const candidate of byAid) {
      for (const { publicKey } of candidate.peers) {
        if (uses(candidate, publicKey) === wantsActive && !owners.has(publicKey))
          owners.set(publicKey, candidate.pair.aid);
      }
    }
  }
  return candidates.flatMap(({ pair, peers }) =>
    peers.filter(({ publicKey }) => owners.get(publicKey) === pair.aid),
  );
}

function routedView(pair: PairState): PairView | undefined {
  return pair.parked ? pair.target : pair.active;
}

/** At most two entries per pair and device, at most one of them with the prefix. */
function peersOf(tunnelKey: Said, pair: PairState, keepalive: number): readonly DesiredPeer[] {
  const { active, target, draining } = pair;
  const peers = new Map<WireGuardKey, DesiredPeer>();
  const add = (view: PairView, owns: boolean) => {
    if (peers.has(view.peerKey)) return;
    peers.set(view.peerKey, {
      publicKey: view.peerKey,
      presharedKey: view.presharedKey,
      ...(view.endpoint === undefined ? {} : { endpoint: view.endpoint }),
      allowedIps: owns ? [pair.route] : [],
      keepalive: owns && view.endpoint !== undefined ? keepalive : 0,
    });
  };
  const here = (view: PairView | undefined): view is PairView => view?.own === tunnelKey;
  if (here(active)) add(active, true);
  if (here(target)) add(target, !here(active));
  if (here(draining)) add(draining, !here(active) && !here(target));
  return [...peers.values()];
}
