/**
 * From the state of all pairs to the devices as they should be: pure, and the same input gives the same devices.
 *
 * A prefix has one owner per device (WireGuard's allowed IPs), so each view of a pair stands on a device of its own, with the
 * same prefix: packets are taken on every one of them, and sent on the one to which the route points.
 */
import type { Aid } from '#kel/identifiers';
import type { Secret } from '#src/secret';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type {
  Cidr,
  DesiredDevice,
  DesiredPeer,
  InterfaceName,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import { holderOf, type KeyClaim, type Possession } from './key-claims.ts';

/** One view of a pair with everything that a device needs. */
export interface DesiredView {
  readonly slot: number;
  readonly peerKey: WireGuardKey;
  /** Of the current epoch; random while nothing is agreed. */
  readonly presharedKey: Secret;
  /** Set at the end that starts the handshakes of this view; the other learns it by roaming. */
  readonly endpoint: UdpEndpoint | undefined;
  /** Seconds, in place of those of the settings; @default those */
  readonly keepalive?: number;
  /** The endpoint is written over one that was learnt by roaming. @default false */
  readonly insists?: boolean;
  /** What the record that names the key proves. @default 'unproven' */
  readonly possession?: Possession;
  /** Of one that drains: it was staged and never active, so nobody has been seen to shake hands on it. @default false */
  readonly isSetAside?: boolean;
}

export interface PairState {
  readonly aid: Aid;
  /** The peer's overlay address as a host route. */
  readonly route: Cidr;
  /** Bytes of the longest packet on it. @default what the device takes */
  readonly routeMtu?: number | undefined;
  /** Prefixes behind it that are routed to it; absent: none. */
  readonly subnets?: readonly Cidr[];
  /** The view that carries the traffic of this end. */
  readonly active: DesiredView | undefined;
  /** The view that is to follow, and has to shake hands first. */
  readonly staged: DesiredView | undefined;
  /** Of a pair that sleeps: a packet to it is heard by this agent; absent: it does not, or has a tunnel. */
  readonly asleep?: DesiredView | undefined;
  /** Views before the active one, while packets may still come on them. */
  readonly draining: readonly DesiredView[];
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
  /** Which of several members that name one key has it now, see `key-claims.ts`; from 0. */
  readonly turn: number;
}

/** Seconds. No packet asks for the first handshake of a staged view: a keepalive does. */
const STAGED_KEEPALIVE = 25;

export function desiredDevices(
  devices: readonly OwnDevice[],
  pairs: readonly PairState[],
  settings: DeviceSettings,
): readonly DesiredDevice[] {
  const routes = (isHere: (slot: number) => boolean) =>
    pairs
      .filter(({ active, staged, asleep }) => {
        // A packet that wakes it has a way from the beginning.
        const carrier = active ?? (asleep && (staged ?? asleep));
        return carrier !== undefined && isHere(carrier.slot);
      })
      .flatMap(prefixesOf);
  return devices.map((device) => ({
    name: device.name,
    privateKey: device.privateKey,
    listenPort: device.listenPort,
    mtu: settings.mtu,
    addresses: settings.addresses,
    peers: onePerKey(device, pairs, settings),
    routes: routes((slot) => slot === device.slot),
    ...routeMtusAt(device.slot, pairs, settings.mtu),
    routesElsewhere: routes((slot) => slot !== device.slot),
  }));
}

function prefixesOf({ route, subnets = [] }: PairState): readonly Cidr[] {
  return [route, ...subnets];
}

/** Only where there are some, and less than the device takes. */
function routeMtusAt(
  slot: number,
  pairs: readonly PairState[],
  deviceMtu: number,
): Pick<DesiredDevice, 'routeMtus'> {
  const mtus = pairs.flatMap((pair) => {
    const { active, routeMtu } = pair;
    return active?.slot === slot && routeMtu !== undefined && routeMtu < deviceMtu
      ? prefixesOf(pair).map((prefix) => [prefix, routeMtu] as const)
      : [];
  });
  return mtus.length === 0 ? {} : { routeMtus: new Map(mtus) };
}

/** Which pair has a key that several name, and whether its traffic runs under it. */
export type Contested = ReadonlyMap<
  WireGuardKey,
  { readonly aid: Aid | undefined; readonly isUp: boolean }
>;

/** Keys that several pairs name on this device. */
export function contestedKeys(slot: number, pairs: readonly PairState[], turn: number): Contested {
  const claims = new Map<WireGuardKey, KeyClaim[]>();
  for (const { aid, active, staged, asleep, draining } of pairs) {
    const view = viewAt(slot, { active, staged, asleep, draining });
    if (view === undefined) continue;
    const { peerKey, possession = 'unproven', isSetAside = false } = view;
    const claim = {
      aid,
      possession,
      hasHandshake: view !== staged && view !== asleep && !isSetAside,
    };
    claims.set(peerKey, [...(claims.get(peerKey) ?? []), claim]);
  }
  const contested = [...claims].filter(([, each]) => each.length > 1);
  return new Map(
    contested.map(([key, each]) => {
      const aid = holderOf(each, turn);
      const isUp = each.some((claim) => claim.aid === aid && claim.hasHandshake);
      return [key, { aid, isUp }];
    }),
  );
}

/** WireGuard knows a peer by its key alone: one pair per key, and none under the key of the device itself. */
function onePerKey(
  device: OwnDevice,
  pairs: readonly PairState[],
  { keepalive, turn }: DeviceSettings,
): readonly DesiredPeer[] {
  const own = wireguardPublicKeyHex(device.privateKey);
  const contested = contestedKeys(device.slot, pairs, turn);
  return pairs.flatMap((pair) => {
    const peer = peerOf(device.slot, pair, keepalive);
    if (peer === undefined || peer.publicKey === own) return [];
    const holder = contested.get(peer.publicKey);
    return holder === undefined || holder.aid === pair.aid ? [peer] : [];
  });
}

/** One entry per pair and device at most. */
function peerOf(slot: number, pair: PairState, keepalive: number): DesiredPeer | undefined {
  const { active, asleep, draining } = pair;
  const view = viewAt(slot, pair);
  if (view === undefined) return undefined;
  const { peerKey, presharedKey, endpoint, insists = false } = view;
  const usual = view.keepalive ?? keepalive;
  const lively = view === active ? usual : usual || STAGED_KEEPALIVE;
  return {
    publicKey: peerKey,
    presharedKey,
    ...(endpoint === undefined ? {} : { endpoint, ...(insists ? { insists } : {}) }),
    allowedIps: prefixesOf(pair),
    keepalive: endpoint === undefined || view === asleep || draining.includes(view) ? 0 : lively,
  };
}

function viewAt(
  slot: number,
  {
    active,
    staged,
    asleep,
    draining,
  }: Pick<PairState, 'active' | 'staged' | 'asleep' | 'draining'>,
): DesiredView | undefined {
  const here = (view: DesiredView | undefined) => (view?.slot === slot ? view : undefined);
  const former = draining.find((one) => one.slot === slot);
  return here(active) ?? here(staged) ?? former ?? here(asleep);
}
