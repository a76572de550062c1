/**
 * WireGuard on virtual time: the devices of all hosts, what the protocol says of keys, handshakes and sessions,
 * and whether a packet would pass, without packets. Devices outlive the agents that configure them.
 *
 * Handshake (WireGuard whitepaper 5.4 and 6): an initiation is answered by a device that knows the static key; it
 * completes when both hold one preshared key, and gives a session for 180 s, renewed after 120 s. A preshared key
 * that changes leaves the session alone. An end that holds no endpoint learns it from the initiation.
 */
import type { Clock } from '#src/clock';
import { Secret } from '#src/secret';
import { wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type {
  Cidr,
  DesiredDevice,
  DesiredPeer,
  DeviceEvent,
  DeviceState,
  InterfaceName,
  PeerState,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from '#src/wireguard/tunnel-driver';
import type { SeededRng } from '../doubles/seeded-rng.ts';
import type { Power } from './simulated-files.ts';
import type { WorldTime } from './world-time.ts';

const REKEY_AFTER_MS = 120_000;
const REJECT_AFTER_MS = 180_000;
const REKEY_TIMEOUT_MS = 5_000;
/** Sessions that one end still accepts packets of: previous, current, next. */
const SESSIONS_KEPT = 3;

/** `passes`; `waits` for a handshake with the packet queued at the sender; else why the packet is lost. */
export type Passage = 'passes' | 'waits' | `lost: ${string}`;

/** A completed handshake, as whoever watches the world sees it. */
export interface SimulatedHandshake {
  readonly initiator: { readonly host: string; readonly key: WireGuardKey };
  readonly responder: { readonly host: string; readonly key: WireGuardKey };
}

/** What lies between the hosts. */
export interface Underlay {
  separated(a: string, b: string): boolean;
  delay(): number;
  loses(): boolean;
}

interface Session {
  /** World time. */
  readonly at: number;
  readonly ends: readonly [SimulatedTunnelPeer, SimulatedTunnelPeer];
}

export interface SimulatedTunnelPeer {
  readonly key: WireGuardKey;
  /** Hex. */
  presharedKey: string;
  configuredEndpoint: UdpEndpoint | undefined;
  endpoint: UdpEndpoint | undefined;
  keepalive: number;
  /** On the host's own clock. */
  lastHandshake: number;
  /** Newest last. */
  sessions: readonly Session[];
  isTrying: boolean;
}

export interface SimulatedDevice {
  readonly host: string;
  readonly name: InterfaceName;
  readonly now: () => number;
  publicKey: WireGuardKey;
  listenPort: number;
  mtu: number;
  addresses: readonly string[];
  readonly peers: Map<WireGuardKey, SimulatedTunnelPeer>;
  /** Who is told its events. */
  readonly watchers: Set<(event: DeviceEvent) => void>;
  /** Cryptokey routing: prefix to its one owner. */
  readonly owners: Map<Cidr, WireGuardKey>;
}

interface Host {
  readonly address: string;
  readonly devices: Map<InterfaceName, SimulatedDevice>;
  /** The one routing table. */
  readonly routes: Map<Cidr, InterfaceName>;
}

export class SimulatedTunnels {
  /** Called after each change of a device, with what was asked for. */
  onApplied: (host: string, desired: DesiredDevice) => void = () => undefined;
  onHandshake: (handshake: SimulatedHandshake) => void = () => undefined;
  readonly #clock: WorldTime;
  readonly #rng: SeededRng;
  readonly #underlay: Underlay;
  readonly #tellsEvents: (host: string) => boolean;
  readonly #hosts = new Map<string, Host>();
  readonly #hostAt = new Map<string, string>();
  readonly #publicKeys = new Map<string, WireGuardKey>();
  #handshakes = 0;

  /** @param tellsEvents whether the devices of a host tell their events; @default none does, as the kernel's */
  constructor(
    clock: WorldTime,
    rng: SeededRng,
    underlay: Underlay,
    tellsEvents: (host: string) => boolean = () => false,
  ) {
    this.#clock = clock;
    this.#rng = rng;
    this.#underlay = underlay;
    this.#tellsEvents = tellsEvents;
  }

  /** Completed since the beginning. */
  get handshakes(): number {
    return this.#handshakes;
  }

  /** @param address IP address under which UDP reaches the host */
  addHost(host: string, address: string): void {
    this.#hosts.set(host, { address, devices: new Map(), routes: new Map() });
    this.#hostAt.set(address, host);
  }

  devicesOf(host: string): readonly SimulatedDevice[] {
    return [...this.#host(host).devices.values()];
  }

  /** @param clock the host's own */
  driver(host: string, clock: Clock, power: Power): TunnelDriver {
    const { devices } = this.#host(host);
    return {
      description: 'simulated',
      read: (name) => power.while(Promise.resolve(this.#state(host, devices.get(name)))),
      peers: (name) => power.while(Promise.resolve(this.#state(host, devices.get(name))?.peers)),
      watch: (name, listener) => power.while(this.#watch(devices.get(name), listener, power)),
      drops: async (name) => (devices.has(name) ? { rx: 0, tx: 0 } : undefined),
      apply: (desired) => {
        const work = async () => this.#apply(host, clock, desired);
        return power.write(work, work);
      },
      applyPeers: (desired) => {
        const work = async () =>
          devices.has(desired.name) ? this.#apply(host, clock, desired) : undefined;
        return power.write(work, work);
      },
      beginHandshake: (name, publicKey) => {
        const work = async () => {
          const device = devices.get(name);
          const peer = device?.peers.get(publicKey);
          if (device !== undefined && peer?.endpoint !== undefined) this.#initiate(device, peer);
          return device !== undefined;
        };
        return power.write(work, work);
      },
      rekey: (name) => {
        const work = async () => this.#rekey(devices.get(name));
        return power.write(work, work);
      },
      remove: (name) => {
        const work = async () => this.#remove(host, name);
        return power.write(work, work);
      },
      list: async (prefix) => [...devices.keys()].filter((name) => name.startsWith(prefix)).sort(),
    };
  }

  /** What becomes of a packet that `from` sends to the overlay address of `to`. */
  passage(from: string, to: string): Passage {
    const source = this.#host(from);
    const destination = this.#addressOf(to);
    const origin = this.#addressOf(from);
    if (destination === undefined || origin === undefined) return 'lost: an end has no address';
    const name = source.routes.get(destination);
    const device = name === undefined ? undefined : source.devices.get(name);
    if (device === undefined) return 'lost: no route';
    const peer = device.peers.get(device.owners.get(destination) ?? ('' as WireGuardKey));
    if (peer === undefined) return 'lost: no peer has the prefix';
    const session = this.#liveSession(peer);
    if (session === undefined) return 'waits';
    const end = session.ends[0] === peer ? session.ends[1] : session.ends[0];
    const arrival = this.#host(to).devices;
    const there = [...arrival.values()].find(
      (candidate) => candidate.peers.get(device.publicKey) === end,
    );
    if (there === undefined) return 'lost: the other end has dropped the session';
    if (there.owners.get(origin) !== device.publicKey)
      return 'lost: the source address is not allowed there';
    if (this.#underlay.separated(from, to)) return 'lost: partition';
    return 'passes';
  }

  canPass(a: string, b: string): boolean {
    return this.passage(a, b) === 'passes';
  }

  /** The preshared key (hex) that `from` would use with `to` in the next handshake. */
  presharedKey(from: string, to: string): string | undefined {
    const destination = this.#addressOf(to);
    const source = this.#host(from);
    const device =
      destination === undefined
        ? undefined
        : source.devices.get(source.routes.get(destination) ?? ('' as InterfaceName));
    return device?.peers.get(device.owners.get(destination as Cidr) ?? ('' as WireGuardKey))
      ?.presharedKey;
  }

  #apply(host: string, clock: Clock, desired: DesiredDevice): readonly string[] {
    const { devices, routes } = this.#host(host);
    const changes: string[] = [];
    let device = devices.get(desired.name);
    if (device === undefined) {
      device = {
        host,
        name: desired.name,
        now: () => clock.now(),
        publicKey: '' as WireGuardKey,
        listenPort: 0,
        mtu: 0,
        addresses: [],
        peers: new Map(),
        watchers: new Set(),
        owners: new Map(),
      };
      devices.set(desired.name, device);
      changes.push('device created');
    }
    const publicKey = this.#publicKey(desired.privateKey);
    if (device.publicKey !== publicKey) {
      device.publicKey = publicKey;
      for (const peer of device.peers.values()) peer.sessions = [];
      changes.push('private key');
    }
    if (device.listenPort !== desired.listenPort) changes.push('port');
    device.listenPort = desired.listenPort;
    device.mtu = desired.mtu;
    device.addresses = desired.addresses;
    const wanted = new Set(desired.peers.map((peer) => peer.publicKey));
    for (const key of device.peers.keys()) {
      if (wanted.has(key)) continue;
      device.peers.delete(key);
      for (const [prefix, owner] of device.owners) if (owner === key) device.owners.delete(prefix);
      changes.push('peer removed');
    }
    for (const peer of desired.peers) this.#applyPeer(device, peer, changes);
    for (const [prefix, name] of routes) {
      if (name !== desired.name || desired.routes.includes(prefix)) continue;
      if (desired.routesElsewhere?.includes(prefix) === true) continue;
      routes.delete(prefix);
      changes.push('route removed');
    }
    for (const prefix of desired.routes) {
      if (routes.get(prefix) === desired.name) continue;
      routes.set(prefix, desired.name);
      changes.push('route added');
    }
    this.onApplied(host, desired);
    return changes;
  }

  #applyPeer(device: SimulatedDevice, desired: DesiredPeer, changes: string[]): void {
    let peer = device.peers.get(desired.publicKey);
    if (peer === undefined) {
      peer = {
        key: desired.publicKey,
        presharedKey: '',
        configuredEndpoint: undefined,
        endpoint: undefined,
        keepalive: 0,
        lastHandshake: 0,
        sessions: [],
        isTrying: false,
      };
      device.peers.set(desired.publicKey, peer);
      changes.push('peer added');
    }
    const presharedKey = Buffer.from(desired.presharedKey.expose()).toString('hex');
    if (peer.presharedKey !== presharedKey) {
      peer.presharedKey = presharedKey;
      changes.push('preshared key');
    }
    if (desired.endpoint !== undefined && desired.endpoint !== peer.configuredEndpoint) {
      peer.configuredEndpoint = desired.endpoint;
      peer.endpoint = desired.endpoint;
      changes.push('endpoint');
    }
    for (const [prefix, owner] of device.owners) {
      if (owner !== desired.publicKey || desired.allowedIps.includes(prefix)) continue;
      device.owners.delete(prefix);
      changes.push('prefix removed');
    }
    for (const prefix of desired.allowedIps) {
      if (device.owners.get(prefix) === desired.publicKey) continue;
      device.owners.set(prefix, desired.publicKey);
      changes.push('prefix added');
    }
    if (peer.keepalive !== desired.keepalive) {
      peer.keepalive = desired.keepalive;
      changes.push('keepalive');
    }
    this.#startTrying(device, peer);
  }

  #remove(host: string, name: InterfaceName): void {
    const { devices, routes } = this.#host(host);
    const device = devices.get(name);
    device?.peers.clear();
    devices.delete(name);
    for (const [prefix, owner] of routes) if (owner === name) routes.delete(prefix);
    for (const tell of [...(device?.watchers ?? [])]) tell({ kind: 'lost' });
  }

  async #watch(
    device: SimulatedDevice | undefined,
    listener: (event: DeviceEvent) => void,
    power: Power,
  ): Promise<Disposable | undefined> {
    if (device === undefined || !this.#tellsEvents(device.host)) return undefined;
    const watcher = (event: DeviceEvent): void => {
      if (power.isOn) listener(event);
    };
    device.watchers.add(watcher);
    for (const peer of device.peers.values()) watcher(eventOf(peer));
    watcher({ kind: 'complete' });
    return { [Symbol.dispose]: () => void device.watchers.delete(watcher) };
  }

  #state(host: string, device: SimulatedDevice | undefined): DeviceState | undefined {
    if (device === undefined) return undefined;
    const { name, publicKey, listenPort, mtu, addresses } = device;
    const allowedIps = new Map<WireGuardKey, Cidr[]>();
    for (const [prefix, owner] of device.owners)
      allowedIps.set(owner, [...(allowedIps.get(owner) ?? []), prefix]);
    const peers = new Map<WireGuardKey, PeerState>();
    for (const [key, peer] of device.peers) {
      peers.set(key, {
        publicKey: key,
        get presharedKey() {
          return new Secret(Buffer.from(peer.presharedKey, 'hex'));
        },
        ...(peer.endpoint === undefined ? {} : { endpoint: peer.endpoint }),
        allowedIps: allowedIps.get(key) ?? [],
        keepalive: peer.keepalive,
        lastHandshake: peer.lastHandshake,
        rxBytes: 0n,
        txBytes: 0n,
      });
    }
    const routes = [...this.#host(host).routes]
      .filter(([, owner]) => owner === name)
      .map(([prefix]) => prefix);
    return { name, publicKey, listenPort, peers, addresses, routes, mtu };
  }

  /** A peer with endpoint and keepalive never rests: handshake, and a new one every 120 s. */
  #startTrying(device: SimulatedDevice, peer: SimulatedTunnelPeer): void {
    if (peer.isTrying || peer.keepalive === 0 || peer.endpoint === undefined) return;
    peer.isTrying = true;
    this.#try(device, peer);
  }

  #try(device: SimulatedDevice, peer: SimulatedTunnelPeer): void {
    const isGone =
      this.#host(device.host).devices.get(device.name) !== device ||
      device.peers.get(peer.key) !== peer;
    if (isGone || peer.keepalive === 0 || peer.endpoint === undefined) {
      peer.isTrying = false;
      return;
    }
    const { at } = peer.sessions.at(-1) ?? { at: Number.NEGATIVE_INFINITY };
    const age = this.#clock.now() - at;
    if (age >= REKEY_AFTER_MS) this.#initiate(device, peer);
    const wait =
      age < REKEY_AFTER_MS ? REKEY_AFTER_MS - age : REKEY_TIMEOUT_MS + this.#rng.int(334);
    this.#clock.schedule(wait, () => this.#try(device, peer));
  }

  /** No session is used for sending any more: whoever has an endpoint shakes hands anew. */
  #rekey(device: SimulatedDevice | undefined): void {
    if (device === undefined) return;
    for (const peer of device.peers.values())
      if (peer.endpoint !== undefined) this.#initiate(device, peer);
  }

  #initiate(device: SimulatedDevice, peer: SimulatedTunnelPeer): void {
    this.#travel(device.host, peer.endpoint, (responder) => {
      const known = responder.peers.get(device.publicKey);
      if (known === undefined || responder.publicKey !== peer.key) return;
      known.endpoint = `${this.#host(device.host).address}:${device.listenPort}` as UdpEndpoint;
      const { presharedKey } = known;
      this.#travel(responder.host, known.endpoint, (initiator) => {
        if (
          initiator !== device ||
          device.peers.get(peer.key) !== peer ||
          peer.presharedKey !== presharedKey
        )
          return;
        this.#complete(device, peer, responder, known);
      });
    });
  }

  #complete(
    device: SimulatedDevice,
    peer: SimulatedTunnelPeer,
    responder: SimulatedDevice,
    known: SimulatedTunnelPeer,
  ): void {
    const session: Session = { at: this.#clock.now(), ends: [peer, known] };
    peer.sessions = [...peer.sessions, session].slice(-SESSIONS_KEPT);
    peer.lastHandshake = device.now();
    for (const tell of device.watchers) tell(eventOf(peer));
    // The responder sends on the session, and counts the handshake, when the first packet on it arrives.
    this.#clock.schedule(this.#underlay.delay(), () => {
      known.sessions = [...known.sessions, session].slice(-SESSIONS_KEPT);
      known.lastHandshake = responder.now();
      for (const tell of responder.watchers) tell(eventOf(known));
      this.#handshakes += 1;
      this.onHandshake({
        initiator: { host: device.host, key: device.publicKey },
        responder: { host: responder.host, key: responder.publicKey },
      });
    });
  }

  /** One datagram to whoever listens at `endpoint` when it arrives. */
  #travel(
    from: string,
    endpoint: UdpEndpoint | undefined,
    arrive: (device: SimulatedDevice) => void,
  ): void {
    const [address = '', port] = endpoint?.split(':') ?? [];
    const to = this.#hostAt.get(address);
    if (to === undefined || this.#underlay.separated(from, to) || this.#underlay.loses()) return;
    this.#clock.schedule(this.#underlay.delay(), () => {
      const device = this.devicesOf(to).find(({ listenPort }) => listenPort === Number(port));
      if (device !== undefined) arrive(device);
    });
  }

  #liveSession(peer: SimulatedTunnelPeer): Session | undefined {
    const session = peer.sessions.at(-1);
    return session !== undefined && this.#clock.now() - session.at < REJECT_AFTER_MS
      ? session
      : undefined;
  }

  #addressOf(host: string): Cidr | undefined {
    for (const { addresses } of this.#host(host).devices.values())
      if (addresses[0] !== undefined) return addresses[0] as Cidr;
    return undefined;
  }

  #publicKey(privateKey: Secret): WireGuardKey {
    const text = Buffer.from(privateKey.expose()).toString('hex');
    const known = this.#publicKeys.get(text) ?? wireguardPublicKeyHex(privateKey);
    this.#publicKeys.set(text, known);
    return known;
  }

  #host(name: string): Host {
    const host = this.#hosts.get(name);
    if (host === undefined) throw new RangeError(`expected a host of this world, got ${name}`);
    return host;
  }
}

function eventOf({ key, endpoint, lastHandshake }: SimulatedTunnelPeer): DeviceEvent {
  const at = endpoint === undefined ? {} : { endpoint };
  return { kind: 'peer', publicKey: key, ...at, lastHandshake };
}
