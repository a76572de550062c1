/** Two organisations at two sites with nothing between them but the delay proxy; real agents, real WireGuard. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { askAgent } from '#agent/control/client';
import type { Json } from '#agent/control/protocol';

const execute = promisify(execFile);
const path = (name: string) => fileURLToPath(new URL(name, import.meta.url));
const main = path('../../agent/main.ts');
const probe = path('../../agent/demo/probe.ts');
const proxy = fileURLToPath(new URL('./delay-proxy.ts', import.meta.url));

const PORT = 51_820;
const LIBP2P = 7_400;
const PROBE_PORT = 7_420;

type JsonMap = Readonly<Record<string, Json>>;

export class Site {
  readonly name: string;
  readonly netns: string;
  readonly dir: string;
  readonly interface: string;
  readonly #config: string;
  #agent: ChildProcess | undefined;

  constructor(name: string, netns: string, root: string, address: string, seenAs: string) {
    this.name = name;
    this.netns = netns;
    this.dir = join(root, name);
    this.interface = netns;
    this.#config = join(this.dir, 'kelmesh.toml');
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    writeFileSync(
      this.#config,
      `name = "${name}"
state = "state"
[control]
socket = "control.sock"
[keystore]
secret-file = "secret"
[network]
listen = ["/ip4/${address}/tcp/${LIBP2P}"]
announce = ["/ip4/${seenAs}/tcp/${LIBP2P}"]
mdns = false
[tunnel]
interface = "${this.interface}"
port = ${PORT}
endpoints = ["${seenAs}"]
drain = 1
[log]
level = "debug"
`,
    );
  }

  async kelmesh(...args: readonly string[]): Promise<JsonMap> {
    const { stdout } = await this.run(
      process.execPath,
      main,
      ...args,
      '--config',
      this.#config,
      '--json',
    );
    return JSON.parse(stdout) as JsonMap;
  }

  ask(verb: string, args: JsonMap = {}): Promise<JsonMap> {
    return askAgent(
      join(this.dir, 'control.sock'),
      { verb, args },
      () => undefined,
    ) as Promise<JsonMap>;
  }

  async run(...command: readonly string[]): Promise<{ readonly stdout: string }> {
    return execute('ip', ['netns', 'exec', this.netns, ...command], { maxBuffer: 64 << 20 });
  }

  async start(): Promise<void> {
    const log = openSync(join(this.dir, 'agent.log'), 'a', 0o600);
    this.#agent = spawn(
      'ip',
      [
        'netns',
        'exec',
        this.netns,
        process.execPath,
        main,
        'up',
        '--foreground',
        '--config',
        this.#config,
      ],
      { stdio: ['ignore', log, log], detached: true },
    );
    closeSync(log);
    await until(30_000, `${this.name} serves`, () =>
      this.ask('ping').then(
        () => true,
        () => false,
      ),
    );
  }

  /** `ip netns exec` becomes the program: its process id is the agent's. */
  async kill(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined || agent.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => agent.once('exit', () => resolve()));
    agent.kill('SIGKILL');
    await ended;
  }

  async stop(keepTunnels: boolean): Promise<void> {
    const agent = this.#agent;
    if (agent === undefined || agent.exitCode !== null) return;
    const ended = new Promise<void>((resolve) => agent.once('exit', () => resolve()));
    await this.ask('down', { keepTunnels }).catch(() => agent.kill('SIGTERM'));
    await ended;
    this.#agent = undefined;
  }

  spawnProbe(task: object): ChildProcess {
    return spawn(
      'ip',
      ['netns', 'exec', this.netns, process.execPath, probe, JSON.stringify(task)],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
  }
}

export class Sites implements AsyncDisposable {
  readonly alpha: Site;
  readonly bravo: Site;
  readonly #middle: string;
  readonly #children: ChildProcess[] = [];
  #bravoOverlay = '';

  private constructor(alpha: Site, bravo: Site, middle: string) {
    this.alpha = alpha;
    this.bravo = bravo;
    this.#middle = middle;
  }

  /** @param root empty directory  @param delayMs one way */
  static async build(tag: string, root: string, delayMs: number): Promise<Sites> {
    const middle = `${tag}m`;
    const alpha = new Site('alpha', `${tag}a`, root, '10.77.1.2', '10.77.2.1');
    const bravo = new Site('bravo', `${tag}b`, root, '10.77.2.2', '10.77.1.1');
    const sites = new Sites(alpha, bravo, middle);
    try {
      await ip('netns', 'add', middle);
      for (const [i, { netns }] of [alpha, bravo].entries()) {
        await ip('netns', 'add', netns);
        await ip('-n', netns, 'link', 'set', 'lo', 'up');
        await ip(
          '-n',
          middle,
          'link',
          'add',
          `side${i}`,
          'type',
          'veth',
          'peer',
          'name',
          'uplink',
          'netns',
          netns,
        );
        for (const [where, dev, host] of [
          [middle, `side${i}`, 1],
          [netns, 'uplink', 2],
        ] as const) {
          await ip('-n', where, 'addr', 'add', `10.77.${i + 1}.${host}/24`, 'dev', dev);
          await ip('-n', where, 'link', 'set', dev, 'up');
        }
      }
      const task = {
        sides: [
          { proxy: '10.77.1.1', site: '10.77.1.2' },
          { proxy: '10.77.2.1', site: '10.77.2.2' },
        ],
        udp: [PORT, PORT + 1],
        tcp: LIBP2P,
      };
      const child = spawn(
        'ip',
        ['netns', 'exec', middle, process.execPath, proxy, String(delayMs), JSON.stringify(task)],
        { stdio: ['ignore', 'pipe', 'inherit'] },
      );
      sites.#children.push(child);
      await new Promise((resolve) => child.stdout?.once('data', resolve));
      return sites;
    } catch (error) {
      await sites[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Mesh, agents, tunnel, echo. */
  async up(): Promise<void> {
    const { alpha, bravo } = this;
    for (const site of [alpha, bravo]) await site.kelmesh('init', '--generate-secret');
    const { aid } = await bravo.kelmesh('id', 'show');
    await alpha.kelmesh('mesh', 'create', 'bench', '--epoch-seconds', '120');
    await alpha.start();
    const { line } = await alpha.ask('mesh.invite');
    await bravo.kelmesh('mesh', 'join', String(line));
    await bravo.start();
    await alpha.ask('mesh.admit', { aid: String(aid), name: 'bravo' });
    await this.ready();
    this.#bravoOverlay = ((await bravo.ask('status'))['overlay'] as readonly string[])[0] ?? '';
    const echo = bravo.spawnProbe({ do: 'serve', address: this.#bravoOverlay, port: PROBE_PORT });
    this.#children.push(echo);
    await new Promise((resolve) => echo.stdout?.once('data', resolve));
  }

  /** No change is under way and the tunnel is up, at both ends. */
  async ready(): Promise<void> {
    for (const site of [this.alpha, this.bravo])
      await until(60_000, `${site.name} is settled`, async () => {
        const { peers, rotating } = (await site.ask('status')) as unknown as {
          peers: readonly { state: string; connected: boolean }[];
          rotating: boolean;
        };
        const { rotations } = (await site.ask('rotate.status')) as unknown as {
          rotations: unknown[];
        };
        return (
          !rotating &&
          peers.length === 1 &&
          rotations.every((row) => (row as { kind: string }).kind === 'psk') &&
          peers.every(({ state, connected }) => state === 'up' && connected)
        );
      });
  }

  /** Packets from alpha to bravo and back while `act` runs. @returns how many were sent and lost */
  async stream(
    seconds: number,
    act: () => Promise<void>,
  ): Promise<{ readonly sent: number; readonly lost: number }> {
    const child = this.alpha.spawnProbe({
      do: 'stream',
      address: this.#bravoOverlay,
      port: PROBE_PORT,
      perSecond: 1_000,
      seconds,
    });
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    await new Promise((resolve) => child.stdout?.once('data', resolve));
    await pause(600);
    await act();
    await ended;
    return JSON.parse(text.trim().split('\n').at(-1) ?? '{}') as { sent: number; lost: number };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const site of [this.alpha, this.bravo]) await site.stop(false).catch(() => site.kill());
    for (const child of this.#children) child.kill('SIGKILL');
    for (const name of [this.alpha.netns, this.bravo.netns, this.#middle]) {
      const pids = (await ip('netns', 'pids', name).catch(() => '')).split('\n').filter(Boolean);
      for (const pid of pids) process.kill(Number(pid), 'SIGKILL');
      await ip('netns', 'delete', name).catch(() => undefined);
    }
  }
}

export async function ip(...args: readonly string[]): Promise<string> {
  return (await execute('ip', [...args])).stdout;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function until(ms: number, what: string, condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + ms;
  while (!(await condition().catch(() => false))) {
    if (performance.now() > end) throw new Error(`not within ${ms / 1_000} s: ${what}`);
    await pause(100);
  }
}
