/** One organisation in a network namespace: its configuration, its agent, and what is asked of it. */
import { type ChildProcess, type ChildProcessByStdio, execFile, spawn } from 'node:child_process';
import { closeSync, copyFileSync, mkdirSync, openSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { askAgent } from '#agent/control/client';
import type { Json } from '#agent/control/protocol';

const execute = promisify(execFile);
const main = fileURLToPath(new URL('../../agent/main.ts', import.meta.url));

/** UDP of the first tunnel device, TCP of the agents. */
export const TUNNEL_PORT = 51_820;
export const LIBP2P_PORT = 7_400;

type JsonMap = Readonly<Record<string, Json>>;

export interface SiteOptions {
  /** Of the organisation. */
  readonly name: string;
  readonly netns: string;
  /** Where the directory of the site is made. */
  readonly root: string;
  /** Of the WireGuard devices, without the last digit. */
  readonly interface: string;
  /** IPv4 address at which it listens. */
  readonly address: string;
  /** The one under which others reach it; default: the same. */
  readonly seenAs?: string;
  readonly driver?: 'auto' | 'userspace';
  /** Seconds that a former tunnel key stays. */
  readonly drain: number;
}

/** What the benchmarks read of a row of `peer list`. */
export interface PeerRow {
  readonly aid: string;
  readonly name: string;
  readonly state: string;
  /** Why it is not up. */
  readonly reason: string | null;
  readonly said: string | null;
  readonly overlay: readonly string[];
  readonly epoch: number | null;
  readonly agreement: string | null;
  readonly generation: number;
  readonly proof: string | null;
  readonly interface: string | null;
  readonly connected: boolean;
}

/** What the benchmarks read of `status`. */
export interface StatusView {
  readonly aid: string;
  readonly said: string;
  readonly driver: string;
  readonly interface: string | null;
  readonly overlay: readonly string[];
  readonly rotating: boolean;
  readonly peers: readonly PeerRow[];
}

/** What the benchmarks read of a row of `rotate status`. */
export interface RotationView {
  readonly kind: string;
  readonly pair: string;
  readonly step: string;
  readonly detail: string;
  readonly deadline: string;
}

export class Site {
  readonly name: string;
  readonly netns: string;
  readonly dir: string;
  readonly interface: string;
  readonly address: string;
  readonly #config: string;
  #agent: ChildProcess | undefined;

  constructor(options: SiteOptions) {
    const { name, netns, root, address, seenAs = address, driver = 'auto', drain } = options;
    this.name = name;
    this.netns = netns;
    this.dir = join(root, name);
    this.interface = options.interface;
    this.address = address;
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
listen = ["/ip4/${address}/tcp/${LIBP2P_PORT}"]
announce = ["/ip4/${seenAs}/tcp/${LIBP2P_PORT}"]
mdns = false
[tunnel]
driver = "${driver}"
interface = "${this.interface}"
port = ${TUNNEL_PORT}
endpoints = ["${seenAs}"]
drain = ${drain}
[log]
level = "debug"
`,
    );
  }

  /** Of the agent that runs; undefined: none does. */
  get pid(): number | undefined {
    const agent = this.#agent;
    return agent === undefined || hasEnded(agent) ? undefined : agent.pid;
  }

  /** Runs `kelmesh ARGS --json` as a process. */
  async kelmesh(...args: readonly string[]): Promise<JsonMap> {
    const own = ['--config', this.#config, '--json'];
    const { stdout } = await this.run(process.execPath, main, ...args, ...own);
    return JSON.parse(stdout) as JsonMap;
  }

  /** Asks the agent, without a process. */
  ask(verb: string, args: JsonMap = {}): Promise<JsonMap> {
    const socket = join(this.dir, 'control.sock');
    return askAgent(socket, { verb, args }, () => undefined) as Promise<JsonMap>;
  }

  async status(): Promise<StatusView> {
    return (await this.ask('status')) as unknown as StatusView;
  }

  async peers(): Promise<readonly PeerRow[]> {
    return (await this.ask('peer.list'))['peers'] as unknown as readonly PeerRow[];
  }

  async rotations(): Promise<readonly RotationView[]> {
    return (await this.ask('rotate.status'))['rotations'] as unknown as readonly RotationView[];
  }

  /**
   * As many tunnels as there are other members, all up, none changing over or draining. A preshared key that waits for
   * its natural handshake is no change.
   */
  async isSettled(peerCount: number): Promise<boolean> {
    const { peers, rotating } = await this.status();
    const isUp = peers.every(({ state, connected }) => state === 'up' && connected);
    if (rotating || peers.length !== peerCount || !isUp) return false;
    return (await this.rotations()).every(({ kind }) => kind === 'psk');
  }

  async run(...command: readonly string[]): Promise<{ readonly stdout: string }> {
    return execute('ip', ['netns', 'exec', this.netns, ...command], { maxBuffer: 64 << 20 });
  }

  async start(): Promise<void> {
    const log = openSync(join(this.dir, 'agent.log'), 'a', 0o600);
    const command = [main, 'up', '--foreground', '--config', this.#config];
    const agent = spawn('ip', ['netns', 'exec', this.netns, process.execPath, ...command], {
      stdio: ['ignore', log, log],
      detached: true,
    });
    closeSync(log);
    this.#agent = agent;
    await until(60_000, `${this.name} serves`, async () => {
      if (hasEnded(agent)) throw new Error(`the agent of ${this.name} ended while it started`);
      return this.ask('ping').then(
        () => true,
        () => false,
      );
    });
  }

  /** `ip netns exec` becomes the program: its process id is the agent's. */
  async kill(): Promise<void> {
    const agent = this.#agent;
    this.#agent = undefined;
    if (agent === undefined || hasEnded(agent)) return;
    const ended = new Promise<void>((resolve) => agent.once('exit', () => resolve()));
    agent.kill('SIGKILL');
    await ended;
  }

  async stop(keepTunnels: boolean): Promise<void> {
    const agent = this.#agent;
    if (agent === undefined || hasEnded(agent)) return;
    const ended = new Promise<void>((resolve) => agent.once('exit', () => resolve()));
    await this.ask('down', { keepTunnels }).catch(() => agent.kill('SIGTERM'));
    await ended;
    this.#agent = undefined;
  }

  /** Copies what the agent has written. @param dir made when missing */
  keepLog(dir: string): void {
    mkdirSync(dir, { recursive: true });
    copyFileSync(join(this.dir, 'agent.log'), join(dir, `${this.name}.log`));
  }

  /** A TypeScript file on the network of the site. */
  spawn(script: string, task: object): ChildProcessByStdio<Writable, Readable, null> {
    const command = [process.execPath, script, JSON.stringify(task)];
    return spawn('ip', ['netns', 'exec', this.netns, ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }
}

function hasEnded({ exitCode, signalCode }: ChildProcess): boolean {
  return exitCode !== null || signalCode !== null;
}

export async function ip(...args: readonly string[]): Promise<string> {
  return (await execute('ip', [...args])).stdout;
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** @param condition what it throws ends the waiting */
export async function until(
  ms: number,
  what: string,
  condition: () => Promise<boolean>,
  pollMs = 100,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${ms / 1_000} s: ${what}`);
    await pause(pollMs);
  }
}
