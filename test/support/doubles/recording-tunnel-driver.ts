/**
 * A `TunnelDriver` without an operating system: the product's own difference and codec over devices in memory. It records what
 * was applied, and lets a test play the other end (handshakes, roaming) and the system (ports in use, failures).
 */
import type { Secret } from '#src/secret';
import { DeviceDriver } from '#src/wireguard/device-driver';
import { WireGuardError } from '#src/wireguard/errors';
import type { LinkDifference, LinkState, Links } from '#src/wireguard/link';
import type {
  Cidr,
  DesiredDevice,
  DeviceDrops,
  DeviceEvent,
  DeviceState,
  InterfaceName,
  PeerState,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import {
  encodeGet,
  encodeRekey,
  encodeSet,
  parseGetReply,
  parseSetReply,
} from '#src/wireguard/uapi';
import { UapiDevice, type UapiPeer } from './uapi-device.ts';

interface Applied {
  readonly name: InterfaceName;
  /** Empty when nothing had to change. */
  readonly changes: readonly string[];
}

export class RecordingTunnelDriver implements TunnelDriver {
  readonly description = 'recording';
  /** Every successful `apply`, in order. */
  readonly applied: Applied[] = [];
  /** Thrown by the next `apply`, before anything changes. */
  failNext: Error | undefined;
  readonly #system: MemorySystem;
  readonly #now: () => number;
  readonly #driver: TunnelDriver;

  /** @param now milliseconds since the Unix epoch  @param system devices that outlive the driver */
  constructor(now: () => number = () => 0, system = new MemorySystem()) {
    this.#now = now;
    this.#system = system;
    const { devices, links } = system;
    const backend = {
      description: this.description,
      async get(name: InterfaceName) {
        const device = devices.get(name);
        return device && parseGetReply(device.exchange(encodeGet()));
      },
      async peers(name: InterfaceName) {
        return (await backend.get(name))?.peers;
      },
      create: async (name: InterfaceName) => system.create(name),
      async set(name: InterfaceName, change: Parameters<typeof encodeSet>[0], listenPort: number) {
        const device = existing(devices.get(name));
        const { listenPort: port, ...rest } = change;
        const only = (n: number) => encodeSet({ listenPort: n, peers: [], removedPeers: [] });
        const reply = port === undefined ? undefined : device.exchange(only(port));
        parseSetReply(device.exchange(encodeSet(rest)));
        if (!reply || Buffer.from(reply).toString() === 'errno=0\n\n') return;
        device.exchange(only(listenPort));
        const message = `${name}: expected UDP port ${port} to be free, got one in use`;
        throw new WireGuardError('WIREGUARD_PORT_IN_USE', message);
      },
      async rekey(name: InterfaceName, ...keys: Parameters<typeof encodeRekey>) {
        parseSetReply(existing(devices.get(name)).exchange(encodeRekey(...keys)));
      },
      async destroy(name: InterfaceName) {
        devices.delete(name);
        links.delete(name);
      },
      async list() {
        return [...devices.keys()];
      },
    };
    this.#driver = new DeviceDriver(backend, links, now);
  }

  read(name: InterfaceName): Promise<DeviceState | undefined> {
    return this.#driver.read(name);
  }

  peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined> {
    return this.#driver.peers(name);
  }

  drops(name: InterfaceName): Promise<DeviceDrops | undefined> {
    return this.#driver.drops(name);
  }

  async apply(desired: DesiredDevice): Promise<readonly string[]> {
    const error = this.failNext;
    this.failNext = undefined;
    if (error) throw error;
    const changes = await this.#driver.apply(desired);
    this.applied.push({ name: desired.name, changes });
    return changes;
  }

  async applyPeers(desired: DesiredDevice): Promise<readonly string[] | undefined> {
    const changes = await this.#driver.applyPeers(desired);
    if (changes !== undefined) this.applied.push({ name: desired.name, changes });
    return changes;
  }

  watch(
    name: InterfaceName,
    listener: (event: DeviceEvent) => void,
  ): Promise<Disposable | undefined> {
    return this.#driver.watch(name, listener);
  }

  async beginHandshake(name: InterfaceName, publicKey: WireGuardKey): Promise<boolean> {
    return (await this.#driver.beginHandshake?.(name, publicKey)) ?? false;
  }

  rekey(name: InterfaceName, throwAway: Secret): Promise<void> {
    return this.#driver.rekey(name, throwAway);
  }

  remove(name: InterfaceName): Promise<void> {
    return this.#driver.remove(name);
  }

  list(prefix: string): Promise<readonly InterfaceName[]> {
    return this.#driver.list(prefix);
  }

  /** UDP ports that some other program holds. */
  get portsInUse(): Set<number> {
    return this.#system.portsInUse;
  }

  /** A driver of the same devices that remembers nothing, as after a restart of the agent. */
  restarted(): RecordingTunnelDriver {
    return new RecordingTunnelDriver(this.#now, this.#system);
  }

  /** The raw `set` requests of a device since it was created. */
  requests(name: InterfaceName): readonly string[] {
    return existing(this.#system.devices.get(name)).requests;
  }

  /** The other end completed a handshake at `ms`, and bytes flowed. */
  handshake(name: InterfaceName, key: WireGuardKey, ms: number, bytes = 100n): void {
    const peer = this.#peer(name, key);
    peer.lastHandshake = ms;
    peer.rxBytes += bytes;
    peer.txBytes += bytes;
  }

  /** The other end moved. */
  roam(name: InterfaceName, key: WireGuardKey, endpoint: UdpEndpoint): void {
    this.#peer(name, key).endpoint = endpoint;
  }

  #peer(name: InterfaceName, key: WireGuardKey): UapiPeer {
    return existing(existing(this.#system.devices.get(name)).peers.get(key));
  }
}

/** What a driver finds when it starts. */
class MemorySystem {
  readonly devices = new Map<InterfaceName, UapiDevice>();
  readonly links = new MemoryLinks();
  readonly portsInUse = new Set<number>();

  create(name: InterfaceName): void {
    this.links.create(name);
    const isTaken = (port: number): boolean =>
      this.portsInUse.has(port) ||
      [...this.devices].some(([other, { listenPort }]) => other !== name && listenPort === port);
    this.devices.set(name, new UapiDevice(isTaken));
  }
}

/** One routing table: a prefix has one device, and `replace` takes it over. */
class MemoryLinks implements Links {
  readonly #links = new Map<InterfaceName, Omit<LinkState, 'routes'>>();
  readonly #routes = new Map<Cidr, InterfaceName>();
  readonly #routeMtus = new Map<Cidr, number>();

  create(name: InterfaceName): void {
    this.#links.set(name, { up: false, mtu: 1420, addresses: [] });
  }

  delete(name: InterfaceName): void {
    this.#links.delete(name);
    for (const [prefix, device] of this.#routes) if (device === name) this.#routes.delete(prefix);
  }

  async exists(name: InterfaceName): Promise<boolean> {
    return this.#links.has(name);
  }

  async read(name: InterfaceName): Promise<LinkState | undefined> {
    const link = this.#links.get(name);
    const routes = [...this.#routes].filter(([, device]) => device === name);
    const prefixes = routes.map(([prefix]) => prefix);
    const routeMtus = new Map([...this.#routeMtus].filter(([prefix]) => prefixes.includes(prefix)));
    return link && { ...link, routes: prefixes, routeMtus };
  }

  async drops(name: InterfaceName): Promise<DeviceDrops | undefined> {
    return this.#links.has(name) ? { rx: 0, tx: 0 } : undefined;
  }

  async takenByOthers(name: InterfaceName, prefixes: readonly Cidr[]): Promise<ReadonlySet<Cidr>> {
    const isTaken = (prefix: Cidr): boolean => (this.#routes.get(prefix) ?? name) !== name;
    return new Set(prefixes.filter(isTaken));
  }

  async apply(name: InterfaceName, change: LinkDifference): Promise<void> {
    const { up, mtu, addresses } = existing(this.#links.get(name));
    const kept = addresses.filter((address) => !change.removeAddresses.includes(address));
    this.#links.set(name, {
      up: up || change.bringUp,
      mtu: change.mtu ?? mtu,
      addresses: [...kept, ...change.addAddresses],
    });
    for (const prefix of change.addRoutes) {
      this.#routes.set(prefix, name);
      this.#routeMtus.delete(prefix);
    }
    for (const [prefix, mtu] of change.routeMtus ?? []) this.#routeMtus.set(prefix, mtu);
    for (const prefix of change.removeRoutes)
      if (this.#routes.get(prefix) === name) this.#routes.delete(prefix);
  }
}

function existing<T>(value: T | undefined): T {
  if (value === undefined) throw new RangeError('no such device or peer in this recording');
  return value;
}
