/** Addresses, MTU and routes of a device through `ip` (iproute2): read as JSON, written as one batch. */
import { readFile } from 'node:fs/promises';
import { type CommandResult, expectSuccess, type RunCommand } from './command.ts';
import { WireGuardError } from './errors.ts';
import { isMissingSome, readLinkTables } from './link-look.ts';
import type { Cidr, DesiredDevice, DeviceDrops, InterfaceName } from './tunnel-driver.ts';
import { isIpv6Prefix, parseCidr, parseInterfaceAddress, parseInterfaceName } from './values.ts';

/** Marks the routes of the mesh in the routing table (rtnetlink `rtm_protocol`; the number is nobody's in `rt_protos`). */
const ROUTE_PROTOCOL = 75;

export interface LinkState {
  readonly up: boolean;
  readonly mtu: number;
  readonly addresses: readonly string[];
  readonly routes: readonly Cidr[];
  /** Of routes that have one of their own. */
  readonly routeMtus?: ReadonlyMap<Cidr, number>;
}

export interface LinkDifference {
  readonly bringUp: boolean;
  readonly mtu?: number;
  readonly addAddresses: readonly string[];
  readonly removeAddresses: readonly string[];
  /** Those that are there with another MTU too. */
  readonly addRoutes: readonly Cidr[];
  /** Of those of `addRoutes` that get one of their own. */
  readonly routeMtus?: ReadonlyMap<Cidr, number>;
  readonly removeRoutes: readonly Cidr[];
}

type DesiredLink = Pick<
  DesiredDevice,
  'mtu' | 'addresses' | 'routes' | 'routesElsewhere' | 'routeMtus'
>;

/** @param taken desired routes that were ours and that another device has taken since: left to it */
export function diffLink(
  desired: DesiredLink,
  actual: LinkState,
  taken: ReadonlySet<Cidr> = new Set(),
): LinkDifference {
  const without = <T>(list: readonly T[], others: readonly T[]) => {
    const set = new Set(others);
    return [...new Set(list)].filter((item) => !set.has(item));
  };
  const mtuOf = ({ routeMtus }: Pick<LinkState, 'routeMtus'>, prefix: Cidr) =>
    routeMtus?.get(prefix);
  const present = new Set(actual.routes);
  const resized = desired.routes.filter(
    (prefix) => present.has(prefix) && mtuOf(desired, prefix) !== mtuOf(actual, prefix),
  );
  const addRoutes = [
    ...without(desired.routes, actual.routes).filter((prefix) => !taken.has(prefix)),
    ...resized,
  ];
  const routeMtus = new Map(
    addRoutes.flatMap((prefix) => {
      const mtu = mtuOf(desired, prefix);
      return mtu === undefined ? [] : [[prefix, mtu] as const];
    }),
  );
  return {
    bringUp: !actual.up,
    ...(desired.mtu === actual.mtu ? {} : { mtu: desired.mtu }),
    addAddresses: without(desired.addresses, actual.addresses),
    removeAddresses: without(actual.addresses, desired.addresses),
    addRoutes,
    ...(routeMtus.size === 0 ? {} : { routeMtus }),
    removeRoutes: without(actual.routes, [...desired.routes, ...(desired.routesElsewhere ?? [])]),
  };
}

export function isEmptyLinkChange(change: LinkDifference): boolean {
  return !change.bringUp && describeLinkDifference(change).length === 0;
}

export function linkAfter(link: LinkState, change: LinkDifference): LinkState {
  const after = <T>(list: readonly T[], add: readonly T[], remove: readonly T[]) => [
    ...list.filter((item) => !remove.includes(item) && !add.includes(item)),
    ...add,
  ];
  const touched = new Set([...change.addRoutes, ...change.removeRoutes]);
  const kept = [...(link.routeMtus ?? [])].filter(([prefix]) => !touched.has(prefix));
  const routeMtus = new Map([...kept, ...(change.routeMtus ?? [])]);
  return {
    up: link.up || change.bringUp,
    mtu: change.mtu ?? link.mtu,
    addresses: after(link.addresses, change.addAddresses, change.removeAddresses),
    routes: after(link.routes, change.addRoutes, change.removeRoutes),
    ...(routeMtus.size === 0 ? {} : { routeMtus }),
  };
}

/** One line for each part that changes. */
export function describeLinkDifference(change: LinkDifference): string[] {
  return [
    ...change.addAddresses.map((address) => `address ${address} added`),
    ...change.removeAddresses.map((address) => `address ${address} removed`),
    ...(change.mtu === undefined ? [] : [`MTU ${change.mtu}`]),
    ...(change.bringUp ? ['link up'] : []),
    ...change.addRoutes.map((prefix) => {
      const mtu = change.routeMtus?.get(prefix);
      return `route ${prefix} added${mtu === undefined ? '' : `, MTU ${mtu}`}`;
    }),
    ...change.removeRoutes.map((prefix) => `route ${prefix} removed`),
  ];
}

/** The links of one network namespace. */
export interface Links {
  exists(name: InterfaceName): Promise<boolean>;
  /** @returns undefined when there is no such device */
  read(name: InterfaceName): Promise<LinkState | undefined>;
  drops(name: InterfaceName): Promise<DeviceDrops | undefined>;
  /** Those of `links` from which an address or a route has been taken, or that have another MTU; undefined where that cannot be told without a program. */
  missing?(
    links: ReadonlyMap<InterfaceName, LinkState>,
  ): Promise<readonly InterfaceName[] | undefined>;
  /** Those of `prefixes` that go into some other device now. */
  takenByOthers(name: InterfaceName, prefixes: readonly Cidr[]): Promise<ReadonlySet<Cidr>>;
  /** Addresses, MTU, state, then routes: an added route is taken from whoever has it, a removed one only when it is still here. */
  apply(name: InterfaceName, change: LinkDifference): Promise<void>;
}

/** {@link Links} through iproute2. @throws WIREGUARD_PORT_IN_USE, WIREGUARD_NO_PRIVILEGE, WIREGUARD_COMMAND_FAILED */
export class SystemLinks implements Links {
  readonly #run: RunCommand;
  readonly #prefix: readonly string[];

  /** @param namespace a name of `ip netns`; absent: the one of this process */
  constructor(run: RunCommand, namespace?: string) {
    this.#run = run;
    this.#prefix = namespace === undefined ? [] : ['-n', namespace];
  }

  async exists(name: InterfaceName): Promise<boolean> {
    const args = ['-j', 'link', 'show', 'dev', name];
    return !isMissing(await this.ip(args));
  }

  /** Names of the links of one type, as `ip` calls it. */
  async list(type: string): Promise<InterfaceName[]> {
    const command = ['-j', 'link', 'show', 'type', type];
    const output = expectSuccess(`ip ${command.join(' ')}`, await this.ip(command));
    return parseJsonArray(output, 'link show').flatMap(({ ifname }) =>
      typeof ifname === 'string' ? [parseInterfaceName(ifname)] : [],
    );
  }

  async read(name: InterfaceName): Promise<LinkState | undefined> {
    const show = ['-j', 'addr', 'show', 'dev', name];
    const [link, v4, v6] = await Promise.all([
      this.ip(show),
      this.#routes('-4', name),
      this.#routes('-6', name),
    ]);
    if (isMissing(link)) return undefined;
    const state = parseLink(expectSuccess(`ip ${show.join(' ')}`, link));
    const routes = [...v4, ...v6];
    const routeMtus = new Map(
      routes.flatMap(({ prefix, mtu }) => (mtu === undefined ? [] : [[prefix, mtu] as const])),
    );
    return {
      ...state,
      routes: routes.map((route) => route.prefix),
      ...(routeMtus.size === 0 ? {} : { routeMtus }),
    };
  }

  async drops(name: InterfaceName): Promise<DeviceDrops | undefined> {
    // The file has the devices of this process's own namespace; another's are had by a program alone.
    if (this.#prefix.length === 0)
      return dropsIn(await readFile('/proc/self/net/dev', 'latin1'), name);
    const show = ['-s', '-j', 'link', 'show', 'dev', name];
    const result = await this.ip(show);
    return isMissing(result)
      ? undefined
      : parseDrops(expectSuccess(`ip ${show.join(' ')}`, result));
  }

  async missing(
    links: ReadonlyMap<InterfaceName, LinkState>,
  ): Promise<readonly InterfaceName[] | undefined> {
    // The files are those of this process's own namespace.
    if (this.#prefix.length > 0) return undefined;
    const tables = await readLinkTables([...links.keys()]).catch(() => undefined);
    if (tables === undefined) return undefined;
    return [...links].flatMap(([name, link]) => (isMissingSome(name, link, tables) ? [name] : []));
  }

  async takenByOthers(name: InterfaceName, prefixes: readonly Cidr[]): Promise<ReadonlySet<Cidr>> {
    if (prefixes.length === 0) return new Set();
    const tables = await Promise.all([this.#routes('-4'), this.#routes('-6')]);
    const foreign = tables.flat().filter((route) => route.device !== name);
    const elsewhere = new Set(foreign.map((route) => route.prefix));
    return new Set(prefixes.filter((prefix) => elsewhere.has(prefix)));
  }

  async apply(name: InterfaceName, change: LinkDifference): Promise<void> {
    const route = (verb: string, prefix: Cidr) =>
      `route ${verb} ${prefix} dev ${name} proto ${ROUTE_PROTOCOL}`;
    // No link-local address: its neighbour traffic would enter the tunnel by itself. A kernel without IPv6 refuses, and has none.
    if (change.bringUp) await this.ip(['link', 'set', 'dev', name, 'addrgenmode', 'none']);
    await this.#batch([
      ...(change.mtu === undefined ? [] : [`link set dev ${name} mtu ${change.mtu}`]),
      ...change.removeAddresses.map((address) => `addr del ${address} dev ${name}`),
      ...change.addAddresses.map((address) => addAddress(address, name)),
      ...(change.bringUp ? [`link set dev ${name} up`] : []),
      ...change.addRoutes.map((prefix) => {
        const mtu = change.routeMtus?.get(prefix);
        return `${route('replace', prefix)}${mtu === undefined ? '' : ` mtu ${mtu}`}`;
      }),
    ]);
    await this.#removeRoutes(change.removeRoutes.map((prefix) => route('del', prefix)));
  }

  async ip(args: readonly string[], stdin?: string): Promise<CommandResult> {
    return this.#run('ip', [...this.#prefix, ...args], stdin === undefined ? {} : { stdin });
  }

  async #batch(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const result = await this.ip(['-batch', '-'], `${lines.join('\n')}\n`);
    if (result.status !== 0 && /address already in use/i.test(result.stderr))
      throw new WireGuardError(
        'WIREGUARD_PORT_IN_USE',
        `ip link set up: got "${result.stderr.trim()}"`,
      );
    expectSuccess(`ip -batch (${lines[failedLine(result.stderr)] ?? 'lines unknown'})`, result);
  }

  /** The device is in the line: what another one has taken meanwhile is not found, and that is fine. */
  async #removeRoutes(lines: readonly string[]): Promise<void> {
    if (lines.length === 0) return;
    const result = await this.ip(['-force', '-batch', '-'], `${lines.join('\n')}\n`);
    const complaints = result.stderr
      .split('\n')
      .filter((line) => line !== '' && !/No such process|^Command failed/.test(line));
    if (complaints.length > 0)
      expectSuccess('ip -batch (route del)', { ...result, stderr: complaints.join('\n') });
  }

  /** @param device only the routes of the mesh into it; absent: all of the main table */
  async #routes(family: '-4' | '-6', device?: InterfaceName): Promise<Route[]> {
    const filter = device === undefined ? [] : ['dev', device, 'proto', `${ROUTE_PROTOCOL}`];
    const result = await this.ip(['-j', family, 'route', 'show', ...filter]);
    if (isMissing(result) || /FIB table does not exist/.test(result.stderr)) return [];
    const routes = parseRoutes(expectSuccess('ip route show', result), family);
    // What is asked for is left out of the answer.
    return device === undefined ? routes : routes.map((route) => ({ ...route, device }));
  }
}

interface Route {
  readonly prefix: Cidr;
  /** Empty for a route with several next hops. */
  readonly device: string;
  readonly mtu?: number;
}

/** Prefixes are routed by `routes` alone: the kernel adds no route of its own for the address. */
function addAddress(address: string, name: InterfaceName): string {
  return `addr replace ${address} dev ${name} noprefixroute${isIpv6Prefix(address) ? ' nodad' : ''}`;
}

function isMissing(result: CommandResult): boolean {
  return result.status !== 0 && /does not exist|Cannot find device/.test(result.stderr);
}

/** `Command failed -:3` counts from 1. */
function failedLine(stderr: string): number {
  return Number(/^Command failed -:(\d+)/m.exec(stderr)?.[1] ?? 0) - 1;
}

function parseLink(json: string): Omit<LinkState, 'routes'> {
  const [link] = parseJsonArray(json, 'addr show');
  const { flags, mtu, addr_info: info } = link ?? {};
  if (!Array.isArray(flags) || typeof mtu !== 'number' || !Array.isArray(info))
    throw malformed('addr show');
  const addresses = info
    .filter((entry) => entry.scope !== 'link')
    .map((entry) => parseInterfaceAddress(`${entry.local}/${entry.prefixlen}`));
  return { up: flags.includes('UP'), mtu, addresses };
}

/** Sixteen counters behind the name, of which the fourth and the twelfth count dropped packets (proc_pid_net(5)). */
function dropsIn(table: string, name: InterfaceName): DeviceDrops | undefined {
  const line = table.split('\n').find((text) => text.trimStart().startsWith(`${name}:`));
  if (line === undefined) return undefined;
  const counters = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number);
  const [rx, tx] = [counters[3], counters[11]];
  if (!Number.isSafeInteger(rx) || !Number.isSafeInteger(tx)) throw malformed('/proc/self/net/dev');
  return { rx: rx as number, tx: tx as number };
}

function parseDrops(json: string): DeviceDrops {
  const [link] = parseJsonArray(json, '-s link show');
  const { rx, tx } = (link?.['stats64'] ?? {}) as Record<string, { dropped?: unknown } | undefined>;
  if (typeof rx?.dropped !== 'number' || typeof tx?.dropped !== 'number')
    throw malformed('-s link show');
  return { rx: rx.dropped, tx: tx.dropped };
}

/** `default`, and host routes without a length, are how `ip` prints them. */
function parseRoutes(json: string, family: '-4' | '-6'): Route[] {
  const zero = family === '-4' ? '0.0.0.0/0' : '::/0';
  return parseJsonArray(json, 'route show').flatMap(({ dst, dev, metrics }) => {
    if (typeof dst !== 'string') throw malformed('route show');
    const text =
      dst === 'default' ? zero : dst.includes('/') ? dst : `${dst}/${isIpv6Prefix(dst) ? 128 : 32}`;
    const [first] = Array.isArray(metrics) ? metrics : [];
    const mtu: unknown = first?.mtu;
    return [
      {
        prefix: parseCidr(text),
        device: typeof dev === 'string' ? dev : '',
        ...(typeof mtu === 'number' ? { mtu } : {}),
      },
    ];
  });
}

function parseJsonArray(json: string, command: string): Record<string, unknown>[] {
  let value: unknown;
  try {
    // `ip` prints nothing at all where there is nothing.
    value = json.trim() === '' ? [] : JSON.parse(json);
  } catch (cause) {
    throw malformed(command, cause);
  }
  if (!Array.isArray(value)) throw malformed(command);
  return value.filter((entry) => typeof entry === 'object' && entry !== null);
}

function malformed(command: string, cause?: unknown): WireGuardError {
  const message = `ip -j ${command}: expected JSON of iproute2, got something else`;
  return new WireGuardError('WIREGUARD_COMMAND_FAILED', message, { cause });
}
