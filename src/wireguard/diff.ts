/**
 * The smallest change from the device that is to the device that should be, as data.
 *
 * A peer that need not change is not in the message: rewriting allowed IPs opens a gap of some packets, and
 * wireguard-go opens its UDP socket anew on any `listen_port`, even the same one.
 */
import type { Secret } from '#src/secret';
import { checkDesiredDevice } from './desired-device.ts';
import type {
  Cidr,
  DesiredDevice,
  DesiredPeer,
  DeviceState,
  PeerState,
  UdpEndpoint,
  WireGuardKey,
} from './tunnel-driver.ts';

/** A session ends 180 s after its handshake (WireGuard whitepaper 6.1): a younger one is in use. */
const LIVE_SESSION_MS = 180_000;

export interface PeerDifference {
  readonly publicKey: WireGuardKey;
  /** An update never creates a peer: one that somebody removed meanwhile would come back without its other fields. */
  readonly kind: 'add' | 'update';
  readonly presharedKey?: Secret;
  readonly endpoint?: UdpEndpoint;
  readonly keepalive?: number;
  /** Drop the allowed IPs of the peer before adding these. */
  readonly replaceAllowedIps: boolean;
  /** Added to the peer; one that another peer has moves in one step. */
  readonly allowedIps: readonly Cidr[];
  /** All that the peer has afterwards, for tools that can only replace. */
  readonly desiredAllowedIps: readonly Cidr[];
}

export interface DeviceDifference {
  readonly privateKey?: Secret;
  readonly listenPort?: number;
  /** New and changed peers, in the order of the desired ones. */
  readonly peers: readonly PeerDifference[];
  /** After the others: their allowed IPs may move first. */
  readonly removedPeers: readonly WireGuardKey[];
}

/** What the driver desired last: an endpoint that has not changed since is not written over a roamed one. */
export type EndpointMemory = ReadonlyMap<WireGuardKey, UdpEndpoint>;

/**
 * @param memory endpoints as last desired in this run; empty after a restart: then a peer with a live session keeps its endpoint
 * @param now milliseconds since the Unix epoch
 * @throws as {@link checkDesiredDevice}
 */
export function diffDevice(
  desired: DesiredDevice,
  actual: DeviceState,
  memory: EndpointMemory,
  now: number,
): DeviceDifference {
  const own = checkDesiredDevice(desired);
  const added = addedAllowedIps(desired, actual);
  const moved = new Set([...added.values()].flat());
  const peers: PeerDifference[] = [];
  for (const peer of desired.peers) {
    const change = diffPeer(peer, actual.peers.get(peer.publicKey), added, moved, memory, now);
    if (change) peers.push(change);
  }
  const wanted = new Set(desired.peers.map((peer) => peer.publicKey));
  return {
    ...(own === actual.publicKey ? {} : { privateKey: desired.privateKey }),
    ...(desired.listenPort === actual.listenPort ? {} : { listenPort: desired.listenPort }),
    peers,
    removedPeers: [...actual.peers.keys()].filter((key) => !wanted.has(key)),
  };
}

export function isEmptyDifference(change: DeviceDifference): boolean {
  return (
    change.privateKey === undefined &&
    change.listenPort === undefined &&
    change.peers.length === 0 &&
    change.removedPeers.length === 0
  );
}

/** One line for each kind of change, without keys or addresses of peers. */
export function describeDifference(change: DeviceDifference, actual: DeviceState): string[] {
  const count = (n: number, what: string) => (n === 0 ? [] : [`${n} ${what}`]);
  const updated = change.peers.filter((peer) => peer.kind === 'update');
  const having = (field: keyof PeerDifference) =>
    updated.filter((peer) => peer[field] !== undefined).length;
  const allowed = updated.filter((peer) => peer.replaceAllowedIps || peer.allowedIps.length > 0);
  return [
    ...(change.privateKey === undefined ? [] : ['private key set']),
    ...(change.listenPort === undefined
      ? []
      : [`listen port ${actual.listenPort} to ${change.listenPort}`]),
    ...count(change.peers.length - updated.length, 'peers added'),
    ...count(change.removedPeers.length, 'peers removed'),
    ...count(having('presharedKey'), 'preshared keys changed'),
    ...count(having('endpoint'), 'endpoints changed'),
    ...count(having('keepalive'), 'keepalives changed'),
    ...count(allowed.length, 'peers with changed allowed IPs'),
  ];
}

/** For each peer the desired prefixes that it does not have yet. */
function addedAllowedIps(desired: DesiredDevice, actual: DeviceState): Map<WireGuardKey, Cidr[]> {
  const added = new Map<WireGuardKey, Cidr[]>();
  for (const { publicKey, allowedIps } of desired.peers) {
    const has = new Set(actual.peers.get(publicKey)?.allowedIps);
    const missing = allowedIps.filter((prefix) => !has.has(prefix));
    if (missing.length > 0) added.set(publicKey, missing);
  }
  return added;
}

function diffPeer(
  peer: DesiredPeer,
  actual: PeerState | undefined,
  added: ReadonlyMap<WireGuardKey, Cidr[]>,
  moved: ReadonlySet<Cidr>,
  memory: EndpointMemory,
  now: number,
): PeerDifference | undefined {
  const { publicKey, presharedKey, endpoint, keepalive, allowedIps: desiredAllowedIps } = peer;
  const add = added.get(publicKey) ?? [];
  if (!actual) {
    const place = endpoint === undefined ? {} : { endpoint };
    const base = { publicKey, kind: 'add', presharedKey, keepalive, desiredAllowedIps } as const;
    return { ...base, ...place, replaceAllowedIps: false, allowedIps: add };
  }
  const allowed = new Set(peer.allowedIps);
  // A prefix that another peer takes in this same change leaves by itself.
  const replaceAllowedIps = actual.allowedIps.some((ip) => !allowed.has(ip) && !moved.has(ip));
  const keeps = (wanted: UdpEndpoint) =>
    peer.insists === true ? actual.endpoint === wanted : keepsEndpoint(wanted, actual, memory, now);
  const fields = {
    ...(presharedKey.equals(actual.presharedKey) ? {} : { presharedKey }),
    ...(endpoint === undefined || keeps(endpoint) ? {} : { endpoint }),
    ...(keepalive === actual.keepalive ? {} : { keepalive }),
  };
  const allowedIps = replaceAllowedIps ? peer.allowedIps : add;
  if (!replaceAllowedIps && allowedIps.length === 0 && Object.keys(fields).length === 0)
    return undefined;
  return { publicKey, kind: 'update', ...fields, replaceAllowedIps, allowedIps, desiredAllowedIps };
}

function keepsEndpoint(
  desired: UdpEndpoint,
  actual: PeerState,
  memory: EndpointMemory,
  now: number,
): boolean {
  if (actual.endpoint === desired) return true;
  if (actual.endpoint === undefined) return false;
  const last = memory.get(actual.publicKey);
  if (last !== undefined) return last === desired;
  return actual.lastHandshake > 0 && now - actual.lastHandshake < LIVE_SESSION_MS;
}

/**
 * The memory after a change was applied. An endpoint is remembered once the device has had it: what was left alone after a
 * restart stays open, so that it is written when the session of the roamed endpoint dies.
 */
export function rememberEndpoints(
  desired: DesiredDevice,
  actual: DeviceState,
  change: DeviceDifference,
  memory: EndpointMemory,
): EndpointMemory {
  const written = new Set(
    change.peers.filter((peer) => peer.endpoint !== undefined).map((peer) => peer.publicKey),
  );
  const next = new Map<WireGuardKey, UdpEndpoint>();
  for (const { publicKey, endpoint } of desired.peers) {
    if (endpoint === undefined) continue;
    const had =
      written.has(publicKey) ||
      actual.peers.get(publicKey)?.endpoint === endpoint ||
      memory.get(publicKey) === endpoint;
    if (had) next.set(publicKey, endpoint);
  }
  return next;
}
