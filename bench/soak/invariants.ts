/** What holds of every pair once nothing is done to the federation any more. */
import type { Cidr, PeerState } from '#src/wireguard/tunnel-driver';
import { type DeviceView, readDevice } from '../support/devices.ts';
import type { PeerRow, RotationView, Site, StatusView } from '../support/site.ts';

interface End {
  readonly site: Site;
  readonly status: StatusView;
  readonly rotations: readonly RotationView[];
  /** By interface name. */
  readonly devices: ReadonlyMap<string, DeviceView>;
}

export interface Findings {
  /** By pair. */
  readonly stuck: ReadonlyMap<string, readonly string[]>;
  /** Ends of tunnels that have no proof under the agreement and the keys that they use. */
  readonly unproven: readonly string[];
  /** Rotations past their deadline. */
  readonly late: readonly string[];
}

/** Asks every agent and every device. */
export async function findProblems(sites: readonly Site[]): Promise<Findings> {
  const ends: End[] = [];
  for (const site of sites) ends.push(await look(site));
  const stuck = new Map<string, readonly string[]>();
  for (const [i, one] of ends.entries())
    for (const other of ends.slice(i + 1)) {
      const problems = pairProblems(one, other);
      if (problems.length > 0) stuck.set(`${one.site.name} ${other.site.name}`, problems);
    }
  const unproven = ends.flatMap(({ site, status }) =>
    status.peers
      .filter(({ proof }) => proof === null)
      .map(({ name, agreement }) => `${site.name} ${name}, agreement ${agreement}`),
  );
  const now = Date.now();
  const late = ends.flatMap(({ site, rotations }) =>
    rotations
      .filter(({ deadline }) => Date.parse(deadline) < now)
      .map((row) => `${site.name}: ${row.kind} with ${row.pair}, ${row.detail}, ${row.deadline}`),
  );
  return { stuck, unproven, late };
}

async function look(site: Site): Promise<End> {
  const status = await site.status();
  const devices = new Map<string, DeviceView>();
  for (const name of new Set([status.interface, ...status.peers.map((row) => row.interface)])) {
    const device = name === null ? undefined : await readDevice(name);
    if (name !== null && device !== undefined) devices.set(name, device);
  }
  return { site, status, rotations: await site.rotations(), devices };
}

function pairProblems(one: End, other: End): readonly string[] {
  const [there, back] = [rowOf(one, other), rowOf(other, one)];
  if (there === undefined || back === undefined) return ['one is not listed by the other'];
  const [oneSees, otherSees] = [deviceRow(one, there), deviceRow(other, back)];
  return [
    ...endProblems(one, other, there, otherSees?.device),
    ...endProblems(other, one, back, oneSees?.device),
    ...(there.agreement === back.agreement
      ? []
      : [`agreements ${there.agreement} and ${back.agreement}`]),
    ...(there.epoch === back.epoch ? [] : [`epochs ${there.epoch} and ${back.epoch}`]),
    ...(oneSees?.peer !== undefined &&
    otherSees?.peer !== undefined &&
    !oneSees.peer.presharedKey.equals(otherSees.peer.presharedKey)
      ? ['the preshared keys on the devices differ']
      : []),
  ];
}

/** @param theirs the device on which `other` has its end of the tunnel */
function endProblems(
  { site, status, rotations, devices }: End,
  other: End,
  row: PeerRow,
  theirs: DeviceView | undefined,
): readonly string[] {
  const carrying = deviceRow({ devices }, row);
  const carrier = carrying?.peer;
  const newest = status.interface === null ? undefined : devices.get(status.interface);
  // A preshared key that is agreed upon waits for its natural handshake: nothing is stuck.
  const underWay = rotations.find(
    ({ kind, pair, detail }) => pair === other.site.name && (kind !== 'psk' || detail !== 'agreed'),
  );
  const conditions: readonly (readonly [boolean, string])[] = [
    [row.state === 'up', `is ${row.state}`],
    [row.connected, 'is not connected'],
    [row.agreement !== null, 'has no agreement'],
    [row.said === other.status.said, `has event ${row.said}, not ${other.status.said}`],
    [
      carrying?.device.publicKey === newest?.publicKey,
      `has another private key on ${row.interface} than on its newest device`,
    ],
    [underWay === undefined, `is changing still (${underWay?.kind}, ${underWay?.detail})`],
    [carrier !== undefined, 'has no device that carries the prefix'],
    [
      carrier === undefined || carrier.publicKey === theirs?.publicKey,
      'has another public key on the device than the other end uses',
    ],
  ];
  return conditions.filter(([holds]) => !holds).map(([, text]) => `${site.name} ${text}`);
}

function rowOf(end: End, other: End): PeerRow | undefined {
  return end.status.peers.find(({ aid }) => aid === other.status.aid);
}

/** The device that the row names, and who has the overlay address of the row there. */
function deviceRow(
  { devices }: Pick<End, 'devices'>,
  row: PeerRow,
): { readonly device: DeviceView; readonly peer: PeerState | undefined } | undefined {
  const device = row.interface === null ? undefined : devices.get(row.interface);
  if (device === undefined) return undefined;
  const prefix = `${row.overlay[0]}/128` as Cidr;
  return {
    device,
    peer: [...device.peers.values()].find(({ allowedIps }) => allowedIps.includes(prefix)),
  };
}
