/** A `TunnelDriver` over the two ways of configuring WireGuard: what they share is the difference, and the link. */

import type { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import { checkDesiredDevice } from './desired-device.ts';
import {
  type DeviceDifference,
  describeDifference,
  diffDevice,
  type EndpointMemory,
  isEmptyDifference,
  rememberEndpoints,
} from './diff.ts';
import { WireGuardError } from './errors.ts';
import {
  describeLinkDifference,
  diffLink,
  isEmptyLinkChange,
  type LinkState,
  type Links,
  linkAfter,
} from './link.ts';
import type {
  Cidr,
  DesiredDevice,
  DeviceDrops,
  DeviceEvent,
  DeviceProbes,
  DeviceState,
  InterfaceName,
  PeerState,
  ProbeToken,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from './tunnel-driver.ts';
import type { Keepalives, UapiDevice } from './uapi.ts';
import { parseInterfaceName, ZERO_KEY } from './values.ts';

/** One way of making, reading and configuring a WireGuard device. */
export interface DeviceBackend {
  readonly description: string;
  /** @returns undefined when the device does not exist or is not one of this backend */
  get(name: InterfaceName): Promise<UapiDevice | undefined>;
  /** Without asking the system whose device it is. @returns undefined when the device does not exist */
  peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined>;
  create(name: InterfaceName): Promise<void>;
  /** @param listenPort the present one, for the way back when the new one is taken */
  set(name: InterfaceName, change: DeviceDifference, listenPort: number): Promise<void>;
  /** Sets `throwAway` as the private key and then `privateKey`, which the device has already; sends the keepalives at once. */
  rekey(
    name: InterfaceName,
    throwAway: Secret,
    privateKey: Secret,
    keepalives: Keepalives,
  ): Promise<void>;
  /** See `TunnelDriver.beginHandshake`; absent: this way cannot. */
  beginHandshake?(name: InterfaceName, publicKey: WireGuardKey): Promise<boolean>;
  /** Nothing happens when the device does not exist. */
  destroy(name: InterfaceName): Promise<void>;
  list(): Promise<readonly InterfaceName[]>;
  /** See `TunnelDriver.watch`; absent: this way cannot tell events. */
  watch?(
    name: InterfaceName,
    listener: (event: DeviceEvent) => void,
  ): Promise<Disposable | undefined>;
  /** See `TunnelDriver.probes`; absent: there are none this way. */
  probes?: NonNullable<TunnelDriver['probes']>;
}

/** What was desired last in this run; nothing is lost with it but the knowledge of who changed what since. */
interface Memory {
  readonly endpoints: EndpointMemory;
  readonly routes: ReadonlySet<Cidr>;
  /** As this driver left it; `at`: when the system was last asked, in milliseconds since the Unix epoch. */
  readonly link?: { readonly state: LinkState; readonly at: number };
}

const NOTHING: Memory = { endpoints: new Map(), routes: new Set() };

interface FullState {
  readonly device: DeviceState;
  readonly link: LinkState;
}

export class DeviceDriver implements TunnelDriver {
  readonly #backend: DeviceBackend;
  readonly #links: Links;
  readonly #now: () => number;
  readonly #linkTrustMs: number;
  readonly #memory = new Map<InterfaceName, Memory>();
  readonly #queues = new Map<InterfaceName, SerialQueue>();

  /**
   * @param now milliseconds since the Unix epoch, as the clock of the handshakes
   * @param linkTrustMs how long `apply` takes a link to be as this driver left it: to ask the system starts programs, which costs
   * more than all the rest, and holds up whoever has a large memory
   */
  constructor(backend: DeviceBackend, links: Links, now: () => number, linkTrustMs = 0) {
    this.#backend = backend;
    this.#links = links;
    this.#now = now;
    this.#linkTrustMs = linkTrustMs;
  }

  get description(): string {
    return this.#backend.description;
  }

  async read(name: InterfaceName): Promise<DeviceState | undefined> {
    return this.#inOrder(name, async () => (await this.#read(name))?.device);
  }

  async peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined> {
    return this.#inOrder(parseInterfaceName(name), () => this.#backend.peers(name));
  }

  async watch(
    name: InterfaceName,
    listener: (event: DeviceEvent) => void,
  ): Promise<Disposable | undefined> {
    return this.#backend.watch?.(parseInterfaceName(name), listener);
  }

  async probes(
    name: InterfaceName,
    came: (token: ProbeToken, from: UdpEndpoint) => void,
  ): Promise<DeviceProbes | undefined> {
    return this.#backend.probes?.(parseInterfaceName(name), came);
  }

  drops(name: InterfaceName): Promise<DeviceDrops | undefined> {
    return this.#links.drops(parseInterfaceName(name));
  }

  async damaged(
    suspects: ReadonlySet<string> = new Set(),
  ): Promise<readonly InterfaceName[] | undefined> {
    const left = new Map<InterfaceName, LinkState>();
    for (const [name, { link }] of this.#memory) if (link !== undefined) left.set(name, link.state);
    const missing = await this.#links.missing?.(left);
    if (missing === undefined) return undefined;
    const damaged = [...left.keys()].filter((name) => missing.includes(name) || suspects.has(name));
    for (const name of damaged) {
      const memory = this.#memory.get(name);
      // It may have been changed here meanwhile.
      if (memory?.link === undefined || memory.link.state !== left.get(name)) continue;
      const { endpoints, routes } = memory;
      this.#memory.set(name, { endpoints, routes });
    }
    return damaged;
  }

  async apply(desired: DesiredDevice): Promise<readonly string[]> {
    parseInterfaceName(desired.name);
    return this.#inOrder(desired.name, () => this.#apply(desired));
  }

  async applyPeers(desired: DesiredDevice): Promise<readonly string[] | undefined> {
    const { name } = desired;
    return this.#inOrder(parseInterfaceName(name), async () => {
      const found = await this.#backend.get(name);
      if (found === undefined) return undefined;
      using privateKey = found.privateKey;
      const { listenPort, peers } = found;
      const publicKey = privateKey === undefined ? ZERO_KEY : wireguardPublicKeyHex(privateKey);
      const device = { name, publicKey, listenPort, peers, addresses: [], routes: [], mtu: 0 };
      const memory = this.#memory.get(name) ?? NOTHING;
      const difference = diffDevice(desired, device, memory.endpoints, this.#now());
      const { peers: changed, removedPeers } = difference;
      const change = { peers: changed, removedPeers };
      if (!isEmptyDifference(change)) await this.#backend.set(name, change, listenPort);
      const endpoints = rememberEndpoints(desired, device, change, memory.endpoints);
      this.#memory.set(name, { ...memory, endpoints });
      return describeDifference(change, device);
    });
  }

  async beginHandshake(name: InterfaceName, publicKey: WireGuardKey): Promise<boolean> {
    return (await this.#backend.beginHandshake?.(parseInterfaceName(name), publicKey)) ?? false;
  }

  async rekey(name: InterfaceName, throwAway: Secret): Promise<void> {
    await this.#inOrder(name, async () => {
      const device = await this.#backend.get(name);
      using privateKey = device?.privateKey;
      if (device === undefined || privateKey === undefined) return;
      const keepalives = [...device.peers.values()].filter(({ keepalive }) => keepalive > 0);
      await this.#backend.rekey(
        name,
        throwAway,
        privateKey,
        new Map(keepalives.map(({ publicKey, keepalive }) => [publicKey, keepalive])),
      );
    });
  }

  async remove(name: InterfaceName): Promise<void> {
    await this.#inOrder(name, async () => {
      this.#memory.delete(name);
      await this.#backend.destroy(name);
    });
  }

  async list(prefix: string): Promise<readonly InterfaceName[]> {
    const names = await this.#backend.list();
    return names.filter((name) => name.startsWith(prefix)).sort();
  }

  async #apply(desired: DesiredDevice): Promise<readonly string[]> {
    const { name } = desired;
    const actual = await this.#read(name, this.#trusted(name));
    if (actual) return this.#change(desired, actual);
    checkDesiredDevice(desired);
    this.#memory.delete(name);
    if (await this.#links.exists(name))
      throw new WireGuardError(
        'WIREGUARD_NAME_TAKEN',
        `${name}: expected no interface of this name, got one that is not a ${this.description} device`,
      );
    await this.#backend.create(name);
    try {
      const created = await this.#read(name);
      if (!created) throw died(name);
      return ['device created', ...(await this.#change(desired, created))];
    } catch (error) {
      // Half a device would be neither up nor missing.
      await this.#backend.destroy(name).catch(() => undefined);
      this.#memory.delete(name);
      throw error;
    }
  }

  async #change(desired: DesiredDevice, { device, link }: FullState): Promise<string[]> {
    const { name } = desired;
    const memory = this.#memory.get(name) ?? NOTHING;
    const change = diffDevice(desired, device, memory.endpoints, this.#now());
    if (!isEmptyDifference(change)) await this.#backend.set(name, change, device.listenPort);
    const taken = await this.#takenRoutes(desired, link, memory);
    const linkDifference = diffLink(desired, link, taken);
    const at = this.#trusted(name) === undefined ? this.#now() : (memory.link?.at ?? 0);
    this.#memory.set(name, { endpoints: memory.endpoints, routes: memory.routes });
    if (!isEmptyLinkChange(linkDifference)) await this.#links.apply(name, linkDifference);
    this.#memory.set(name, {
      endpoints: rememberEndpoints(desired, device, change, memory.endpoints),
      routes: new Set(desired.routes),
      link: { state: linkAfter(link, linkDifference), at },
    });
    this.#forgetRoutes(name, linkDifference.addRoutes);
    return [...describeDifference(change, device), ...describeLinkDifference(linkDifference)];
  }

  /** The link as it was left, while that is believed. */
  #trusted(name: InterfaceName): LinkState | undefined {
    const link = this.#memory.get(name)?.link;
    return link !== undefined && Math.abs(this.#now() - link.at) < this.#linkTrustMs
      ? link.state
      : undefined;
  }

  /** A route has one device: what `name` has taken the others have lost. */
  #forgetRoutes(name: InterfaceName, taken: readonly Cidr[]): void {
    for (const [other, memory] of this.#memory) {
      const { link } = memory;
      if (other === name || link === undefined) continue;
      const routes = link.state.routes.filter((prefix) => !taken.includes(prefix));
      this.#memory.set(other, { ...memory, link: { ...link, state: { ...link.state, routes } } });
    }
  }

  /** A route that was ours and is gone was taken by another device or fell with a link: only the second is put back. */
  async #takenRoutes(
    desired: DesiredDevice,
    link: LinkState,
    memory: Memory,
  ): Promise<ReadonlySet<Cidr>> {
    const present = new Set(link.routes);
    const lost = desired.routes.filter(
      (prefix) => memory.routes.has(prefix) && !present.has(prefix),
    );
    return this.#links.takenByOthers(desired.name, lost);
  }

  async #read(name: InterfaceName, known?: LinkState): Promise<FullState | undefined> {
    const [wireGuard, link] = await Promise.all([
      this.#backend.get(name),
      known ?? this.#links.read(name),
    ]);
    if (!wireGuard || !link) return undefined;
    using privateKey = wireGuard.privateKey;
    const publicKey = privateKey === undefined ? ZERO_KEY : wireguardPublicKeyHex(privateKey);
    const { listenPort, peers } = wireGuard;
    const { mtu, addresses, routes } = link;
    return { device: { name, publicKey, listenPort, peers, addresses, routes, mtu }, link };
  }

  #inOrder<T>(name: InterfaceName, task: () => Promise<T>): Promise<T> {
    const queue = this.#queues.get(name) ?? new SerialQueue();
    this.#queues.set(name, queue);
    return queue.run(task);
  }
}

function died(name: InterfaceName): WireGuardError {
  const message = `${name}: expected a device after it was created, got none`;
  return new WireGuardError('WIREGUARD_PROGRAM_DIED', message);
}
