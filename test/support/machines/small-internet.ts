/**
 * A small internet of namespaces: one public segment, and routers on it with machines behind them, as networks have them.
 *
 * The segment stands in a namespace of its own, so its addresses meet nobody. They are of ranges that programs take for public: those
 * for documentation are private to many. Nothing answers names, and there is no way out.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { holdGround } from '../../../demo/ground.ts';
import { type Machine, type Machines, machinesIn, machinesUnavailable } from './federation.ts';
import { Namespaces } from './namespace.ts';

const execute = promisify(execFile);

/** Of the segment; the last number is the host's. */
const PUBLIC = { ipv4: '45.77.0.', ipv6: '2a00:77::' };
/** The segment's own, to which everybody sends what is not on it. */
const EXIT = 254;
const FIRST_ROUTER = 101;

type Family = 'ipv4' | 'ipv6';

const BOTH: readonly Family[] = ['ipv4', 'ipv6'];

export interface RouterSketch {
  readonly name: string;
  /**
   * `keeps-ports`: a port behind it is the same port before it, for whatever destination, while that is free; `per-destination`: another
   * port for each destination, which nobody can foresee; `none`: addresses behind it are those before it, IPv6 alone.
   */
  readonly nat: 'keeps-ports' | 'per-destination' | 'none';
  /** Machines on its one LAN. */
  readonly behind: readonly string[];
  /** What it lets out; @default `all`. It lets in what belongs to that, and nothing else. */
  readonly letsOut?: 'all' | 'tcp-443';
}

export interface InternetSketch {
  /** Machines on the public segment; whoever may not have both families stands with the one that it has. */
  readonly open: Readonly<Record<string, readonly Family[]>>;
  readonly routers: readonly RouterSketch[];
}

/** With both families. */
export function dualStack(...names: readonly string[]): InternetSketch['open'] {
  return Object.fromEntries(names.map((name) => [name, BOTH]));
}

/** Where a machine is plugged in. */
interface Socket {
  /** Namespace and bridge. */
  readonly space: string;
  readonly bridge: string;
  readonly addresses: readonly string[];
  /** Default routes. */
  readonly gateways: readonly string[];
}

/** Why there can be no such internet here; undefined when there can. */
export async function internetUnavailable(): Promise<string | undefined> {
  const reason = machinesUnavailable();
  if (reason !== undefined) return reason;
  const rule =
    'add table inet kelmesh; add chain inet kelmesh nat { type nat hook postrouting priority 100; }';
  return execute('unshare', ['--net', 'nft', rule]).then(
    () => undefined,
    (error: Error) => `address translation needs nftables: ${error.message}`,
  );
}

export class SmallInternet implements AsyncDisposable {
  readonly #id: string;
  readonly #sketch: InternetSketch;
  readonly #spaces: Namespaces;
  #machines: Machines | undefined;
  #legs = 0;

  /** Use {@link createInternet}. */
  constructor(id: string, sketch: InternetSketch, spaces: Namespaces) {
    this.#id = id;
    this.#sketch = sketch;
    this.#spaces = spaces;
  }

  get(name: string): Machine {
    if (this.#machines === undefined) throw new Error('the machines are not there yet');
    return this.#machines.get(name);
  }

  /** Before which the machines behind `router` stand, as others see them. */
  outerAddress(router: string): string {
    return `${PUBLIC.ipv4}${FIRST_ROUTER + this.#routerNumber(router)}`;
  }

  /** The router forgets all mappings, as one does that starts again; it is back when this resolves. */
  async restartRouter(router: string): Promise<void> {
    const space = this.#space(router);
    // Masquerading forgets what went out by a link that goes down.
    await ip('-n', space, 'link', 'set', 'dev', 'net0', 'down');
    await ip('-n', space, 'link', 'set', 'dev', 'net0', 'up');
    const socket = this.#publicSocket(FIRST_ROUTER + this.#routerNumber(router), BOTH);
    await address(space, socket);
  }

  /** Takes the cable of a machine out and puts it in behind `router`, or on the public segment: its addresses are others then. */
  async move(machine: string, router: string | undefined): Promise<void> {
    const space = this.#space(machine);
    await ip('-n', space, 'link', 'del', 'dev', 'net0');
    const socket =
      router === undefined
        ? this.#publicSocket(FIRST_ROUTER - 1 - this.#legs, BOTH)
        : this.#lanSocket(router, 100 + this.#legs);
    await this.#plug(space, socket);
  }

  /** Builds all of it. */
  async build(): Promise<void> {
    const hub = this.#space('hub');
    await this.#spaces.add('', hub, undefined);
    await bridge(hub, 'hub0', [`${PUBLIC.ipv4}${EXIT}/24`, `${PUBLIC.ipv6}${EXIT}/64`]);
    await forwarding(hub);
    for (const router of this.#sketch.routers) await this.#addRouter(router);
    const open = Object.entries(this.#sketch.open);
    for (const [i, [name, families]] of open.entries())
      await this.#addMachine(name, this.#publicSocket(1 + i, families));
    for (const { name, behind } of this.#sketch.routers)
      for (const [i, machine] of behind.entries())
        await this.#addMachine(machine, this.#lanSocket(name, 2 + i));
    this.#machines = await machinesIn(this.#spaces, this.#names());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#machines === undefined) await this.#spaces.destroy();
    else await this.#machines[Symbol.asyncDispose]();
  }

  #names(): readonly string[] {
    const { open, routers } = this.#sketch;
    return [...Object.keys(open), ...routers.flatMap(({ behind }) => behind)];
  }

  #space(name: string): string {
    return `${this.#id}-${name}`;
  }

  #routerNumber(name: string): number {
    const found = this.#sketch.routers.findIndex((router) => router.name === name);
    if (found < 0) throw new RangeError(`no router ${name}`);
    return found;
  }

  #publicSocket(host: number, families: readonly Family[]): Socket {
    return {
      space: this.#space('hub'),
      bridge: 'hub0',
      addresses: families.map(
        (family) => `${PUBLIC[family]}${host}/${family === 'ipv4' ? 24 : 64}`,
      ),
      gateways: families.map((family) => `${PUBLIC[family]}${EXIT}`),
    };
  }

  #lanSocket(router: string, host: number): Socket {
    const number = this.#routerNumber(router);
    const lan = lanOf(number, this.#sketch.routers[number]?.nat === 'none');
    return {
      space: this.#space(router),
      bridge: 'lan0',
      addresses: [`${lan.prefix}${host}/${lan.length}`],
      gateways: [`${lan.prefix}1`],
    };
  }

  async #addMachine(name: string, socket: Socket): Promise<void> {
    const space = this.#space(name);
    await this.#spaces.add(name, space, socket.addresses[0]?.split('/')[0]);
    await this.#plug(space, socket);
  }

  async #addRouter({ name, nat, letsOut = 'all' }: RouterSketch): Promise<void> {
    const space = this.#space(name);
    const number = this.#routerNumber(name);
    const lan = lanOf(number, nat === 'none');
    await this.#spaces.add('', space, undefined);
    await this.#plug(space, this.#publicSocket(FIRST_ROUTER + number, BOTH));
    await bridge(space, 'lan0', [`${lan.prefix}1/${lan.length}`]);
    await forwarding(space);
    await execute('ip', ['netns', 'exec', space, 'nft', rulesOf(nat, letsOut)]);
    if (nat !== 'none') return;
    const via = `${PUBLIC.ipv6}${FIRST_ROUTER + number}`;
    await ip(
      '-n',
      this.#space('hub'),
      '-6',
      'route',
      'add',
      `${lan.prefix}/${lan.length}`,
      'via',
      via,
    );
  }

  async #plug(space: string, socket: Socket): Promise<void> {
    this.#legs += 1;
    const leg = `leg${this.#legs}`;
    const ends = ['name', leg, 'type', 'veth', 'peer', 'name', 'net0', 'netns', space];
    await ip('-n', socket.space, 'link', 'add', ...ends);
    await ip('-n', socket.space, 'link', 'set', leg, 'master', socket.bridge, 'up');
    await ip('-n', space, 'link', 'set', 'dev', 'net0', 'up');
    await address(space, socket);
  }
}

/** @throws what `ip` and `nft` say; nothing is left then */
export async function createInternet(sketch: InternetSketch): Promise<SmallInternet> {
  const id = `km${randomBytes(3).toString('hex')}`;
  const names = [
    'hub',
    ...sketch.routers.flatMap(({ name, behind }) => [name, ...behind]),
    ...Object.keys(sketch.open),
  ];
  const namespaces = names.map((name) => `${id}-${name}`);
  const spaces = new Namespaces(await holdGround('a test run', { namespaces, interfaces: [] }));
  const internet = new SmallInternet(id, sketch, spaces);
  try {
    await internet.build();
    return internet;
  } catch (error) {
    await internet[Symbol.asyncDispose]();
    throw error;
  }
}

function lanOf(router: number, isIpv6: boolean) {
  return isIpv6
    ? { prefix: `2a00:77:${router + 1}::`, length: 64 }
    : { prefix: `192.168.${router + 1}.`, length: 24 };
}

/** What comes from outside without being asked for leaves no trace of it either, or it would take the port that it came to. */
function rulesOf(nat: RouterSketch['nat'], letsOut: RouterSketch['letsOut']): string {
  const out = letsOut === 'tcp-443' ? 'tcp dport 443 accept' : 'accept';
  const masquerade = {
    'keeps-ports': 'oifname "net0" meta nfproto ipv4 masquerade',
    'per-destination': 'oifname "net0" meta nfproto ipv4 masquerade random,fully-random',
    none: '',
  }[nat];
  return `table inet router {
    chain input {
      type filter hook input priority 0; policy drop;
      ct state established,related accept
      iifname { "lan0", "lo" } accept
      meta l4proto ipv6-icmp accept
    }
    chain forward {
      type filter hook forward priority 0; policy drop;
      ct state established,related accept
      iifname "lan0" ${out}
    }
    chain leave {
      type nat hook postrouting priority 100;
      ${masquerade}
    }
  }`;
}

async function bridge(space: string, name: string, addresses: readonly string[]): Promise<void> {
  await ip('-n', space, 'link', 'add', 'name', name, 'type', 'bridge');
  await ip('-n', space, 'link', 'set', 'dev', name, 'up');
  for (const one of addresses)
    await ip('-n', space, 'addr', 'add', one, 'dev', name, ...nodad(one));
}

async function address(space: string, { addresses, gateways }: Socket): Promise<void> {
  for (const one of addresses)
    await ip('-n', space, 'addr', 'replace', one, 'dev', 'net0', ...nodad(one));
  for (const via of gateways) await ip('-n', space, 'route', 'replace', 'default', 'via', via);
}

/** Nobody else has it: there is no need to wait until that is found out. */
function nodad(text: string): readonly string[] {
  return text.includes(':') ? ['nodad'] : [];
}

async function forwarding(space: string): Promise<void> {
  const keys = ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'];
  await execute('ip', ['netns', 'exec', space, 'sysctl', '-q', '-w', ...keys]);
}

async function ip(...args: readonly string[]): Promise<void> {
  await execute('ip', [...args]);
}
