/**
 * Machines for end-to-end tests: each a network namespace with a file system view in which `/etc`, `/var/lib` and `/run`
 * are its own, so that the commands of the manual run as they stand there, default paths included.
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import {
  createNamespaces,
  type LongRunning,
  type Namespaces,
  namespacesUnavailable,
} from './namespace.ts';

const KELMESH = fileURLToPath(new URL('../../../deploy/kelmesh.mjs', import.meta.url));
const PROBE = new URL('./probe-process.ts', import.meta.url);

const REPOSITORY = fileURLToPath(new URL('../../..', import.meta.url));

const CONFIG = '/etc/kelmesh/kelmesh.toml';

const POLL_MS = 250;

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

// biome-ignore lint/suspicious/noExplicitAny: the shape is what the tests assert
export type Json = any;

export class Machine {
  readonly name: string;
  /** IPv4 address on the bridge. */
  readonly address: string;
  readonly netns: string;
  /** All that `kelmesh` printed so far. */
  readonly printed: string[] = [];
  readonly #spaces: Namespaces;
  readonly #holder: ChildProcess;
  #program = KELMESH;

  constructor(name: string, spaces: Namespaces, holder: ChildProcess) {
    const space = spaces.get(name);
    this.name = name;
    this.address = space.address ?? '';
    this.netns = space.name;
    this.#spaces = spaces;
    this.#holder = holder;
  }

  /** From now on `kelmesh` is this program, that of the clone without one. */
  installs(program = KELMESH): void {
    this.#program = program;
  }

  /** Runs `kelmesh`; never rejects. */
  async kelmesh(...args: readonly string[]): Promise<Outcome> {
    const outcome = await this.run(process.execPath, this.#program, ...args);
    this.printed.push(outcome.stdout, outcome.stderr);
    return outcome;
  }

  /** Runs `kelmesh … --json`. @returns its result; rejects with what it said when it fails */
  async json(...args: readonly string[]): Promise<Json> {
    return JSON.parse(await this.ok(...args, '--json'));
  }

  /** Runs `kelmesh`, which must succeed. @returns its standard output */
  async ok(...args: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.kelmesh(...args);
    if (code !== 0)
      throw new Error(`${this.name}: kelmesh ${args.join(' ')} ended with ${code}: ${stderr}`);
    return stdout;
  }

  /** Runs a command line of the manual, which must succeed. */
  async shell(line: string): Promise<Outcome> {
    const command = line.replace(/^npx kelmesh /, `${process.execPath} ${this.#program} `);
    const outcome = await this.run('sh', '-c', command);
    this.printed.push(outcome.stdout, outcome.stderr);
    if (outcome.code !== 0) throw new Error(`${this.name}: ${line}: ${outcome.stderr}`);
    return outcome;
  }

  /** Runs a program; never rejects. */
  run(file: string, ...args: readonly string[]): Promise<Outcome> {
    const inside = ['-t', String(this.#holder.pid), '-m', '-n', '--', file, ...args];
    return new Promise((resolve) => {
      execFile('nsenter', inside, { maxBuffer: 16 << 20 }, (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ code, stdout, stderr });
      });
    });
  }

  /** Echoes datagrams and swallows streams at an address of this machine. */
  async serve(address: string, port: number): Promise<LongRunning> {
    const server = this.#probe('serve', address, port);
    await server.line();
    return server;
  }

  /** Numbered datagrams; resolves when some have gone. */
  async stream(
    address: string,
    port: number,
    perSecond: number,
    seconds: number,
  ): Promise<LongRunning> {
    const stream = this.#probe('stream', address, port, perSecond, seconds);
    await stream.line((line) => line === 'streaming');
    return stream;
  }

  async measure(
    verb: 'rtt' | 'throughput',
    address: string,
    port: number,
    ...numbers: readonly number[]
  ): Promise<Json> {
    return JSON.parse(await this.#probe(verb, address, port, ...numbers).finished());
  }

  /** Starts a TypeScript file on the network of this machine. */
  spawn(script: URL, ...args: readonly string[]): LongRunning {
    return this.#spaces.get(this.name).spawnScript(script, ...args);
  }

  #probe(verb: string, address: string, port: number, ...numbers: readonly number[]): LongRunning {
    const args = [verb, address, String(port), ...numbers.map(String)];
    return this.spawn(PROBE, ...args);
  }

  /** Runs JavaScript until it is stopped; resolves when it has printed a line. */
  async script(code: string): Promise<{ stop(): Promise<void> }> {
    const inside = ['-t', String(this.#holder.pid), '-m', '-n', '--', process.execPath];
    const child = spawn('nsenter', [...inside, '-e', code], {
      cwd: REPOSITORY,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    if (child.exitCode !== null) throw new Error(`${this.name}: the script has ended: ${code}`);
    return {
      async stop() {
        const gone = once(child, 'exit');
        child.kill('SIGKILL');
        await gone;
      },
    };
  }

  /** Starts a TypeScript file on the network and the file system of this machine. */
  program(script: URL, ...args: readonly string[]): ChildProcess {
    const inside = ['-t', String(this.#holder.pid), '-m', '-n', '--', process.execPath];
    return spawn('nsenter', [...inside, fileURLToPath(script), ...args], {
      cwd: REPOSITORY,
      stdio: ['pipe', 'pipe', 'inherit'],
    });
  }

  /** A path of this machine as the test process sees it. */
  path(file: string): string {
    return `/proc/${this.#holder.pid}/root${file}`;
  }

  read(file: string): string {
    return readFileSync(this.path(file), 'utf8');
  }

  readBytes(file: string): Uint8Array {
    return readFileSync(this.path(file));
  }

  write(file: string, content: string | Uint8Array): void {
    writeFileSync(this.path(file), content);
  }

  append(file: string, text: string): void {
    appendFileSync(this.path(file), text);
  }

  /** Ids of the processes in this machine, without the one that holds it open. */
  async processes(): Promise<readonly number[]> {
    const pids = await pidsIn(this.netns);
    return pids.filter((pid) => pid !== this.#holder.pid);
  }

  /** Id of the agent that runs in the background. */
  async agentPid(): Promise<number> {
    for (const pid of await this.processes()) {
      const file = `/proc/${pid}/cmdline`;
      if (existsSync(file) && readFileSync(file, 'utf8').includes('\0--foreground\0')) return pid;
    }
    throw new Error(`no agent runs in ${this.name}`);
  }

  /** WireGuard interfaces, by name. */
  async interfaces(): Promise<readonly string[]> {
    const { stdout } = await this.run('ip', '-j', 'link');
    return (JSON.parse(stdout) as readonly { ifname: string }[])
      .map(({ ifname }) => ifname)
      .filter((name) => name !== 'lo' && name !== 'net0');
  }

  /** What `wg show` says, read without our own code: fields separated by tabs, one line per peer. */
  async wg(device: string, what: string): Promise<readonly (readonly string[])[]> {
    const { code, stdout, stderr } = await this.run('wg', 'show', device, what);
    if (code !== 0) throw new Error(`${this.name}: wg show ${device} ${what}: ${stderr}`);
    return stdout
      .trim()
      .split('\n')
      .map((line) => line.split('\t'));
  }

  /** What a machine without Kelmesh would not have: processes, interfaces, sockets. */
  async leftovers(): Promise<readonly string[]> {
    const wireguard = this.path('/run/wireguard');
    return [
      ...(await this.processes()).map((pid) => `process ${pid} ${commandOf(pid)}`),
      ...(await this.interfaces()).map((name) => `interface ${name}`),
      ...(existsSync(wireguard) ? readdirSync(wireguard) : []).map((name) => `socket ${name}`),
      ...(existsSync(this.path('/var/lib/kelmesh/control.sock')) ? ['control socket'] : []),
    ];
  }

  async close(): Promise<void> {
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const gone = once(this.#holder, 'exit');
    this.#holder.kill('SIGKILL');
    await gone;
  }
}

export class Machines implements AsyncDisposable {
  readonly #spaces: Namespaces;
  readonly #machines: readonly Machine[];

  constructor(spaces: Namespaces, machines: readonly Machine[]) {
    this.#spaces = spaces;
    this.#machines = machines;
  }

  get(name: string): Machine {
    const machine = this.#machines.find((one) => one.name === name);
    if (machine === undefined) throw new RangeError(`no machine ${name}`);
    return machine;
  }

  /** Ends every process in them; the file systems go with the last. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const machine of this.#machines) await machine.close();
    await this.#spaces.destroy();
  }
}

/** Why there can be no machines here; undefined when there can. */
export function machinesUnavailable(): string | undefined {
  const reason = namespacesUnavailable();
  if (reason !== undefined) return reason;
  const probe = ['--mount', '--propagation', 'private', 'mount', '-t', 'tmpfs', 'tmpfs', '/run'];
  const { status, stderr } = spawnSync('unshare', probe, { encoding: 'utf8' });
  return status === 0
    ? undefined
    : `a file system view of its own is not allowed: ${stderr.trim()}`;
}

/** Machines that see each other over a bridge. */
export async function createMachines(names: readonly string[]): Promise<Machines> {
  return machinesIn(await createNamespaces(names, { bridge: true }), names);
}

/** @param spaces go with the machines, or when they cannot be made */
export async function machinesIn(spaces: Namespaces, names: readonly string[]): Promise<Machines> {
  const machines: Machine[] = [];
  try {
    for (const name of names)
      machines.push(new Machine(name, spaces, await hold(spaces.get(name).name)));
  } catch (error) {
    for (const machine of machines) await machine.close();
    await spaces.destroy();
    throw error;
  }
  return new Machines(spaces, machines);
}

/** A process that does nothing, in a mount namespace of its own: the machine lasts as long as it does. */
async function hold(netns: string): Promise<ChildProcess> {
  const script =
    'for dir in /etc /var/lib /run; do mount -t tmpfs tmpfs $dir || exit 1; done; mkdir /run/wireguard; echo ready; exec cat';
  const holder = spawn(
    'nsenter',
    [
      `--net=/run/netns/${netns}`,
      '--',
      'unshare',
      '--mount',
      '--propagation',
      'private',
      'sh',
      '-c',
      script,
    ],
    { stdio: ['pipe', 'pipe', 'pipe'] },
  );
  let stderr = '';
  holder.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString();
  });
  await new Promise<void>((resolve, reject) => {
    holder.stdout.once('data', () => resolve());
    holder.once('exit', () => reject(new Error(`no machine in ${netns}: ${stderr.trim()}`)));
  });
  return holder;
}

async function pidsIn(netns: string): Promise<readonly number[]> {
  const stdout = await new Promise<string>((resolve) => {
    execFile('ip', ['netns', 'pids', netns], (_error, text) => resolve(text));
  });
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '(ended)';
  }
}

/** Polls until `condition` gives something; rejects with what was waited for. */
export async function eventually<T>(
  what: string,
  condition: () => Promise<T | undefined | false>,
  withinMs = 40_000,
): Promise<T> {
  for (const end = performance.now() + withinMs; ; ) {
    const value = await condition();
    if (value !== undefined && value !== false) return value;
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${what}`);
    await sleep(POLL_MS);
  }
}

/**
 * "Join two machines" of the README, command by command as it stands there, with the addresses, the line and the AID
 * filled in. Both agents log all they do.
 */
export async function joinTwoMachines(a: Machine, b: Machine): Promise<void> {
  const [founding, joining, admission, check] = readmeBlocks('Join two machines');
  const told = new Map<string, string>();
  const follow = async (machine: Machine, commands: readonly string[] | undefined, ip: string) => {
    for (const command of commands ?? []) {
      const filled = command
        .replace(/\bIP\b/, ip)
        .replace(/\b(LINE|AID)\b/, (w) => told.get(w) ?? w);
      const output = await machine.shell(filled);
      if (filled.includes(' init ')) machine.append(CONFIG, '\n[log]\nlevel = "debug"\n');
      if (filled.includes(' mesh invite')) told.set('LINE', output.stdout.trim());
      if (filled.includes(' mesh join '))
        told.set('AID', /: (E[\w-]{43})\s/.exec(output.stderr)?.[1] ?? '');
    }
  };
  await follow(a, founding, a.address);
  await follow(b, joining, b.address);
  await follow(a, admission, a.address);
  for (const machine of [a, b]) await follow(machine, check, machine.address);
}

/** The commands in the code blocks of a section, block by block. */
function readmeBlocks(title: string): readonly (readonly string[])[] {
  const readme = readFileSync(join(REPOSITORY, 'README.md'), 'utf8');
  const section = readme.split(/^## /m).find((text) => text.startsWith(`${title}\n`)) ?? '';
  const blocks = [...section.matchAll(/^```\w*\n(.*?)^```/gms)].map(([, text = '']) =>
    text.split('\n').filter((line) => line.startsWith('npx kelmesh ')),
  );
  if (blocks.length !== 4) throw new Error(`README, ${title}: ${blocks.length} blocks, expected 4`);
  return blocks;
}

/** Resolves with the status of a machine whose only tunnel is up and proven. */
export function tunnelUp(machine: Machine): Promise<Json> {
  return eventually(`the tunnel of ${machine.name} is up and proven`, async () => {
    const status = await machine.json('status');
    const [peer] = status.peers;
    return peer?.state === 'up' && peer.proof !== null && !status.rotating && status;
  });
}
