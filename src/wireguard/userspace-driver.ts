/** WireGuard in a userspace program (wireguard-go), configured over UAPI. */
import { basename } from 'node:path';
import type { Secret } from '#src/secret';
import { runCommand } from './command.ts';
import { type DeviceBackend, DeviceDriver } from './device-driver.ts';
import { beginHandshake, watchDevice } from './device-events.ts';
import { openProbes } from './device-probes.ts';
import type { DeviceDifference } from './diff.ts';
import { WireGuardError } from './errors.ts';
import { SystemLinks } from './link.ts';
import { TunnelProgram, USERSPACE_PROGRAMS } from './program.ts';
import type {
  DeviceEvent,
  DeviceProbes,
  InterfaceName,
  PeerState,
  ProbeToken,
  TunnelDriver,
  UdpEndpoint,
  WireGuardKey,
} from './tunnel-driver.ts';
import {
  encodeGet,
  encodeRekey,
  encodeSet,
  type Keepalives,
  PeerMemory,
  parseGetReply,
  parseSetReply,
  type UapiDevice,
} from './uapi.ts';
import { exchangeUapi } from './uapi-socket.ts';

/** Fixed in wireguard-go; one directory for all network namespaces of the machine. */
const SOCKET_DIR = '/var/run/wireguard';
const EADDRINUSE = -98;

export interface UserspaceDriverOptions {
  /** Absolute path of wireguard-go. */
  readonly program: string;
  /** Name and version, as the program prints them, for the description. */
  readonly version: string;
  /** Pid files and logs of the programs, mode 0700. */
  readonly stateDir: string;
  /** Default `/var/run/wireguard`. */
  readonly socketDir?: string;
  /** A name of `ip netns` in which the devices live; absent: the network namespace of this process. */
  readonly namespace?: string;
  /** Milliseconds since the Unix epoch; default the system's. */
  readonly now?: () => number;
  /** See {@link DeviceDriver}; default 0. */
  readonly linkTrustMs?: number;
}

export function createUserspaceDriver(options: UserspaceDriverOptions): TunnelDriver {
  const { program: path, stateDir, socketDir = SOCKET_DIR, namespace } = options;
  const place = namespace === undefined ? {} : { namespace };
  const program = new TunnelProgram({ path, stateDir, socketDir, ...place });
  const isOwn = basename(path) === USERSPACE_PROGRAMS[0];
  const lacks = isOwn ? '' : ', without events and relay';
  const description = `${options.version} (${path})${lacks}`;
  const backend = new UserspaceBackend(program, description);
  return new DeviceDriver(
    backend,
    new SystemLinks(runCommand, namespace),
    options.now ?? Date.now,
    options.linkTrustMs,
  );
}

class UserspaceBackend implements DeviceBackend {
  readonly description: string;
  readonly #program: TunnelProgram;
  readonly #memories = new Map<InterfaceName, PeerMemory>();

  constructor(program: TunnelProgram, description: string) {
    this.#program = program;
    this.description = description;
  }

  async get(name: InterfaceName): Promise<UapiDevice | undefined> {
    if ((await this.#program.find(name)) === undefined) {
      this.#forget(name);
      return undefined;
    }
    const memory = this.#memories.get(name) ?? new PeerMemory();
    this.#memories.set(name, memory);
    return exchangeUapi(this.#program.socketPath(name), encodeGet(), (reply) =>
      parseGetReply(reply, memory),
    );
  }

  async peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined> {
    const device = await this.get(name);
    using _privateKey = device?.privateKey;
    return device?.peers;
  }

  async watch(
    name: InterfaceName,
    listener: (event: DeviceEvent) => void,
  ): Promise<Disposable | undefined> {
    // The stock program has no such socket; a device of it may be left from before.
    return watchDevice(this.#program.eventsPath(name), listener).catch(() => undefined);
  }

  async probes(
    name: InterfaceName,
    came: (token: ProbeToken, from: UdpEndpoint) => void,
  ): Promise<DeviceProbes | undefined> {
    return openProbes(this.#program.probesPath(name), came).catch(() => undefined);
  }

  async beginHandshake(name: InterfaceName, publicKey: WireGuardKey): Promise<boolean> {
    return beginHandshake(this.#program.eventsPath(name), publicKey);
  }

  async create(name: InterfaceName): Promise<void> {
    await this.#program.start(name);
  }

  async set(name: InterfaceName, change: DeviceDifference, listenPort: number): Promise<void> {
    await this.#program.boundLog(name);
    const { listenPort: port, ...rest } = change;
    if (port === undefined) return this.#send(name, rest);
    const failure = await this.#setPort(name, port, listenPort).catch((error: unknown) => error);
    // A port that is taken does not hold up the rest: a peer may have to go at once.
    await this.#send(name, rest);
    if (failure !== undefined) throw failure;
  }

  async rekey(
    name: InterfaceName,
    throwAway: Secret,
    privateKey: Secret,
    keepalives: Keepalives,
  ): Promise<void> {
    const request = encodeRekey(throwAway, privateKey, keepalives);
    await exchangeUapi(this.#program.socketPath(name), request, parseSetReply);
  }

  async destroy(name: InterfaceName): Promise<void> {
    this.#forget(name);
    await this.#program.stop(name);
  }

  async list(): Promise<readonly InterfaceName[]> {
    return this.#program.list();
  }

  #forget(name: InterfaceName): void {
    this.#memories.get(name)?.[Symbol.dispose]();
    this.#memories.delete(name);
  }

  /** Alone and first: a program that cannot open the new port has closed the old one, and gets it back. */
  async #setPort(name: InterfaceName, port: number, previous: number): Promise<void> {
    const only = (listenPort: number) => ({ listenPort, peers: [], removedPeers: [] });
    try {
      await this.#send(name, only(port));
    } catch (cause) {
      if (!(cause instanceof WireGuardError) || cause.fields['errno'] !== EADDRINUSE) throw cause;
      if (previous !== 0) await this.#send(name, only(previous));
      const message = `${name}: expected UDP port ${port} to be free, got one in use`;
      throw new WireGuardError('WIREGUARD_PORT_IN_USE', message, { cause });
    }
  }

  async #send(name: InterfaceName, change: DeviceDifference): Promise<void> {
    await exchangeUapi(this.#program.socketPath(name), encodeSet(change), parseSetReply);
  }
}
