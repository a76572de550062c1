/** WireGuard in the kernel, configured with `ip link` and `wg` (wireguard-tools). Keys go by file descriptor, never in arguments. */
import type { FileHandle } from 'node:fs/promises';
import { release } from 'node:os';
import type { Secret } from '#src/secret';
import {
  type CommandInput,
  type CommandResult,
  expectSuccess,
  type RunCommand,
  runCommand,
} from './command.ts';
import { type DeviceBackend, DeviceDriver } from './device-driver.ts';
import type { DeviceDifference, PeerDifference } from './diff.ts';
import { WireGuardError } from './errors.ts';
import { SystemLinks } from './link.ts';
import { openSecretFile } from './secret-file.ts';
import type { InterfaceName, PeerState, TunnelDriver, WireGuardKey } from './tunnel-driver.ts';
import type { Keepalives, UapiDevice } from './uapi.ts';
import { formatBase64Key } from './values.ts';
import { parseWgDump } from './wg-dump.ts';

/** Peers in one call of `wg`: each may need a descriptor, and the argument list has a limit. */
const PEERS_PER_CALL = 64;
/** Standard input, output and error come before it. */
const FIRST_DESCRIPTOR = 3;

export interface KernelDriverOptions {
  /** For key files without a name, where `/dev/shm` cannot be written. */
  readonly stateDir: string;
  /** A name of `ip netns` in which the devices live; absent: the network namespace of this process. */
  readonly namespace?: string;
  /** Milliseconds since the Unix epoch; default the system's. */
  readonly now?: () => number;
  /** See {@link DeviceDriver}; default 0. */
  readonly linkTrustMs?: number;
  /** Default: the real one. */
  readonly run?: RunCommand;
}

export function createKernelDriver(options: KernelDriverOptions): TunnelDriver {
  const { stateDir, namespace, now = Date.now, linkTrustMs, run = runCommand } = options;
  const links = new SystemLinks(run, namespace);
  const backend = new KernelBackend(run, links, stateDir, namespace);
  return new DeviceDriver(backend, links, now, linkTrustMs);
}

/** Makes a device and deletes it again: the one test that also loads the module, and that holds in a user namespace. */
export async function kernelHasWireGuard(run: RunCommand = runCommand): Promise<boolean> {
  const name = `kmtest${process.pid % 1_000_000}`;
  try {
    const added = await run('ip', ['link', 'add', 'dev', name, 'type', 'wireguard']);
    // One that a crash left here before was made all the same.
    if (added.status !== 0 && !/File exists/.test(added.stderr)) return false;
    await run('ip', ['link', 'del', 'dev', name]);
    return (await run('wg', ['--version'])).status === 0;
  } catch (error) {
    if (error instanceof WireGuardError && error.code === 'WIREGUARD_NO_PROGRAM') return false;
    throw error;
  }
}

class KernelBackend implements DeviceBackend {
  readonly description = `kernel ${release()}`;
  readonly #run: RunCommand;
  readonly #links: SystemLinks;
  readonly #stateDir: string;
  readonly #enter: readonly string[];

  constructor(
    run: RunCommand,
    links: SystemLinks,
    stateDir: string,
    namespace: string | undefined,
  ) {
    this.#run = run;
    this.#links = links;
    this.#stateDir = stateDir;
    this.#enter = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
  }

  async get(name: InterfaceName): Promise<UapiDevice | undefined> {
    if (!(await this.list()).includes(name)) return undefined;
    const result = await this.#dump(name);
    expectSuccess(`wg show ${name}`, result);
    return parsed(result);
  }

  async peers(name: InterfaceName): Promise<ReadonlyMap<WireGuardKey, PeerState> | undefined> {
    const result = await this.#dump(name);
    if (result.status !== 0 && isNoDevice(result.stderr)) return undefined;
    expectSuccess(`wg show ${name}`, result);
    const device = parsed(result);
    using _privateKey = device.privateKey;
    return device.peers;
  }

  async create(name: InterfaceName): Promise<void> {
    const result = await this.#links.ip(['link', 'add', 'dev', name, 'type', 'wireguard']);
    const said = result.stderr.trim();
    if (/unknown device type|operation not supported/i.test(said))
      throw new WireGuardError(
        'WIREGUARD_NO_KERNEL_MODULE',
        `kernel ${release()}: expected device type wireguard, got "${said}"`,
      );
    if (/file exists/i.test(said))
      throw new WireGuardError(
        'WIREGUARD_NAME_TAKEN',
        `${name}: expected a free name, got "${said}"`,
      );
    expectSuccess(`ip link add dev ${name} type wireguard`, result);
  }

  async set(name: InterfaceName, change: DeviceDifference): Promise<void> {
    const { privateKey, listenPort } = change;
    const port = listenPort === undefined ? [] : ['listen-port', `${listenPort}`];
    const device = { secret: privateKey, before: [], after: port };
    const isChanged = privateKey !== undefined || listenPort !== undefined;
    const first = isChanged ? this.#set(name, [device], 'private-key') : Promise.resolve();
    const failure = await first.catch((error: unknown) => error);
    // A port that is taken does not hold up the rest: a peer may have to go at once.
    await this.#setPeers(name, change);
    if (failure !== undefined) throw failure;
  }

  async rekey(
    name: InterfaceName,
    throwAway: Secret,
    privateKey: Secret,
    keepalives: Keepalives,
  ): Promise<void> {
    for (const secret of [throwAway, privateKey])
      await this.#set(name, [{ secret, before: [], after: [] }], 'private-key');
    for (const isOn of [false, true]) {
      const peers = [...keepalives].map(
        ([key, seconds]): Section => ({
          secret: undefined,
          before: ['peer', formatBase64Key(key)],
          after: ['persistent-keepalive', isOn ? `${seconds}` : 'off'],
        }),
      );
      for (let i = 0; i < peers.length; i += PEERS_PER_CALL)
        await this.#set(name, peers.slice(i, i + PEERS_PER_CALL), '');
    }
  }

  async destroy(name: InterfaceName): Promise<void> {
    if (!(await this.list()).includes(name)) return;
    expectSuccess(`ip link del dev ${name}`, await this.#links.ip(['link', 'del', 'dev', name]));
  }

  list(): Promise<readonly InterfaceName[]> {
    return this.#links.list('wireguard');
  }

  async #setPeers(name: InterfaceName, change: DeviceDifference): Promise<void> {
    for (let i = 0; i < change.peers.length; i += PEERS_PER_CALL)
      await this.#set(
        name,
        change.peers.slice(i, i + PEERS_PER_CALL).map(peerArgs),
        'preshared-key',
      );
    for (let i = 0; i < change.removedPeers.length; i += PEERS_PER_CALL)
      await this.#set(name, change.removedPeers.slice(i, i + PEERS_PER_CALL).map(removalArgs), '');
  }

  async #set(name: InterfaceName, sections: readonly Section[], keyWord: string): Promise<void> {
    const files: FileHandle[] = [];
    try {
      const args = ['set', name];
      for (const { secret, before, after } of sections) {
        args.push(...before);
        if (secret) {
          args.push(keyWord, `/dev/fd/${FIRST_DESCRIPTOR + files.length}`);
          files.push(await openSecretFile(secret, this.#stateDir));
        }
        args.push(...after);
      }
      await this.#wg(
        args,
        files.map((file) => file.fd),
      );
    } finally {
      for (const file of files) await file.close();
    }
  }

  async #wg(args: readonly string[], descriptors: readonly number[] = []): Promise<string> {
    const result = await this.#wgResult(args, { descriptors });
    if (/address already in use/i.test(result.stderr))
      throw new WireGuardError(
        'WIREGUARD_PORT_IN_USE',
        `${args[1]}: expected the UDP port to be free, got "${result.stderr.trim()}"`,
      );
    // Only the first words: peers' keys and endpoints stand in the rest.
    return expectSuccess(`wg ${args.slice(0, 2).join(' ')}`, result);
  }

  #dump(name: InterfaceName): Promise<CommandResult> {
    return this.#wgResult(['show', name, 'dump'], { secretOutput: true });
  }

  #wgResult(args: readonly string[], input: CommandInput): Promise<CommandResult> {
    const [file = 'wg', ...rest] = [...this.#enter, 'wg', ...args];
    return this.#run(file, rest, input);
  }
}

/** The output has keys in it, and lives no longer than it is read. */
function parsed({ secretOutput = new Uint8Array() }: CommandResult): UapiDevice {
  try {
    return parseWgDump(secretOutput);
  } finally {
    secretOutput.fill(0);
  }
}

/** What `wg show` says of a name that no interface has, or one of another kind, or in a kernel without the module. */
function isNoDevice(said: string): boolean {
  return /no such device|(operation|protocol) not supported/i.test(said);
}

/** A part of the arguments of `wg set`, with the place of its key file. */
interface Section {
  readonly secret: Secret | undefined;
  readonly before: readonly string[];
  readonly after: readonly string[];
}

/** `wg set` always replaces the allowed IPs: it is given all of them, and only when they change. */
function peerArgs(peer: PeerDifference): Section {
  const { endpoint, keepalive } = peer;
  return {
    secret: peer.presharedKey,
    before: ['peer', formatBase64Key(peer.publicKey)],
    after: [
      ...(endpoint === undefined ? [] : ['endpoint', endpoint]),
      ...(keepalive === undefined ? [] : ['persistent-keepalive', `${keepalive}`]),
      ...(peer.replaceAllowedIps || peer.allowedIps.length > 0
        ? ['allowed-ips', peer.desiredAllowedIps.join(',')]
        : []),
    ],
  };
}

function removalArgs(key: WireGuardKey): Section {
  return { secret: undefined, before: ['peer', formatBase64Key(key), 'remove'], after: [] };
}
