/**
 * From the state of all pairs to the devices as they should be: pure, and the same input gives the same devices.
 *
 * A prefix has one owner per device (WireGuard's allowed IPs), so each view of a pair stands on a device of its own, with the
 * same prefix: packets are taken on every one of them, and sent on the one to which the route points.
 */
import type { Aid } from '#kel/identifiers';
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
  readonly slot: number;
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
  /** The view that carries the traffic of this end. */
  readonly active: PairView | undefined;
  /** The view that is to follow, and has to shake hands first. */
  readonly staged: PairView | undefined;
  /** Views before the active one, while packets may still come on them. */
  readonly draining: readonly PairView[];
}

export interface OwnDevice {
  readonly slot: number;
  readonly name: InterfaceName;
  readonly privateKey: Secret;
  readonly listenPort: number;
}

export interface DeviceSettings {
  readonly mtu: number;
  /** The own overlay address with prefix length. */
  readonly addresses: readonly string[];
  /** Persistent keepalive of the end that starts the handshakes, in seconds; 0: none. */
  readonly keepalive: number;
}

/** Seconds. No packet asks for the first handshake of a staged view: a keepalive does. */
const STAGED_KEEPALIVE = 25;

export function desiredDevices(
  devices: readonly OwnDevice[],
  pairs: readonly PairState[],
  settings: DeviceSettings,
): readonly DesiredDevice[] {
  const routes = (isHere: (slot: number) => boolean) =>
    pairs.filter(({ active }) => active && isHere(active.slot)).map(({ route }) => route);
  return devices.map((device) => ({
    name: device.name,
    privateKey: device.privateKey,
    listenPort: device.listenPort,
    mtu: settings.mtu,
    addresses: settings.addresses,
    peers: onePerKey(
      device,
      pairs.flatMap((pair) => {
        const peer = peerOf(device.slot, pair, settings.keepalive);
        return peer === undefined ? [] : [{ pair, peer }];
      }),
    ),
    routes: routes((slot) => slot === device.slot),
    routesElsewhere: routes((slot) => slot !== device.slot),
  }));
}

interface PairPeer {
  readonly pair: PairState;
  readonly peer: DesiredPeer;
}

/**
 * WireGuard knows a peer by its key alone. A key that two pairs name, or that is the device's own, is left to
 * the pair whose traffic runs under it, else to the lower AID: one member's false claim must cost no other its tunnel.
 */
function onePerKey(device: OwnDevice, candidates: readonly PairPeer[]): readonly DesiredPeer[] {
  const owners = new Map<WireGuardKey, Aid | undefined>([
    [wireguardPublicKeyHex(device.privateKey), undefined],
  ]);
  const byAid = candidates.toSorted((a, b) => (a.pair.aid < b.pair.aid ? -1 : 1));
  for (const wantsActive of [true, false]) {
    for (const { pair, peer } of byAid) {
      const isActive = pair.active?.slot === device.slot && pair.active.peerKey === peer.publicKey;
      if (isActive === wantsActive && !owners.has(peer.publicKey))
        owners.set(peer.publicKey, pair.aid);
    }
  }
  return candidates
    .filter(({ pair, peer }) => owners.get(peer.publicKey) === pair.aid)
    .map(({ peer }) => peer);
}

/** One entry per pair and device at most. */
function peerOf(slot: number, pair: PairState, keepalive: number): DesiredPeer | undefined {
  const { active, staged, draining } = pair;
  const here = (view: PairView | undefined) => (view?.slot === slot ? view : undefined);
  const view = here(active) ?? here(staged) ?? draining.find((former) => former.slot === slot);
  if (view === undefined) return undefined;
  const { peerKey, presharedKey, endpoint } = view;
  const lively = view === active ? keepalive : keepalive || STAGED_KEEPALIVE;
  return {
    publicKey: peerKey,
    presharedKey,
    ...(endpoint === undefined ? {} : { endpoint }),
    allowedIps: [pair.route],
    keepalive: endpoint === undefined || draining.includes(view) ? 0 : lively,
  };
}
