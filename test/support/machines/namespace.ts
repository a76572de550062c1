/**
 * Network namespaces for tests: each with one leg on a bridge that stands in a namespace of its own, so that the
 * network of the machine is never touched. What a test starts in them is ended by process id, also when the test run is
 * killed: they are held as a ground (`demo/ground.ts`).
 */
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { accessSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { type HeldGround, holdGround } from '../../../demo/ground.ts';

const execute = promisify(execFile);

const PREFIX_LENGTH = 24;
const STOP_TIMEOUT_MS = 3000;

/** Why namespaces with tunnels cannot be made here; undefined when they can. */
export function namespacesUnavailable(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root';
  if (spawnSync('ip', ['-V']).status !== 0) return 'network namespaces need iproute2';
  try {
    accessSync('/dev/net/tun');
  } catch {
    return 'tunnels need /dev/net/tun';
  }
  const name = `kmt${randomBytes(3).toString('hex')}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0) return 'ip netns add is not allowed';
  spawnSync('ip', ['netns', 'del', name]);
  return undefined;
}

export interface LongRunning {
  readonly pid: number;
  /** Resolves with the next line of standard output that satisfies `wanted`. */
  line(wanted?: (line: string) => boolean): Promise<string>;
  /** Resolves with the whole standard output when the program has ended by itself with status 0. */
  finished(): Promise<string>;
  stop(): Promise<void>;
}

export interface Namespace {
  /** For `ip netns`, unique on the machine. */
  readonly name: string;
  /** On the bridge: `10.77.0.n`; undefined without one. */
  readonly address: string | undefined;
  /** Runs a program inside. @returns its standard output */
  exec(file: string, ...args: string[]): Promise<string>;
  /** Runs a TypeScript file inside, with the Node of this process. @returns its standard output */
  runScript(script: URL, ...args: string[]): Promise<string>;
  /** Starts a TypeScript file inside. */
  spawnScript(script: URL, ...args: string[]): LongRunning;
}

export class Namespaces implements AsyncDisposable {
  readonly #spaces = new Map<string, NamespaceInUse>();
  readonly #ground: HeldGround;

  /** Use {@link createNamespaces}. */
  constructor(ground: HeldGround) {
    this.#ground = ground;
  }

  get(name: string): Namespace {
    const space = this.#spaces.get(name);
    if (!space) throw new RangeError(`no namespace ${name}`);
    return space;
  }

  async add(label: string, name: string, address: string | undefined): Promise<void> {
    await execute('ip', ['netns', 'add', name]);
    await execute('ip', ['-n', name, 'link', 'set', 'lo', 'up']);
    if (label !== '') this.#spaces.set(label, new NamespaceInUse(name, address));
  }

  async destroy(): Promise<void> {
    for (const space of this.#spaces.values()) await space.stopAll();
    await this.#ground.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.destroy();
  }
}

/** @param bridge whether they see each other, over 10.77.0.0/24 */
export async function createNamespaces(
  names: readonly string[],
  { bridge }: { readonly bridge: boolean },
): Promise<Namespaces> {
  const id = `km${randomBytes(3).toString('hex')}`;
  const hub = `${id}-hub`;
  const namespaces = [...(bridge ? [hub] : []), ...names.map((label) => `${id}-${label}`)];
  const spaces = new Namespaces(await holdGround('a test run', { namespaces, interfaces: [] }));
  try {
    if (bridge) {
      await spaces.add('', hub, undefined);
      await execute('ip', ['-n', hub, 'link', 'add', 'name', 'hub0', 'type', 'bridge']);
      await execute('ip', ['-n', hub, 'link', 'set', 'dev', 'hub0', 'up']);
    }
    for (const [i, label] of names.entries()) {
      const address = bridge ? `10.77.0.${i + 1}` : undefined;
      await spaces.add(label, `${id}-${label}`, address);
      if (address !== undefined) await plug(hub, `${id}-${label}`, `leg${i}`, address);
    }
    return spaces;
  } catch (error) {
    await spaces.destroy();
    throw error;
  }
}

async function plug(hub: string, space: string, leg: string, address: string): Promise<void> {
  const ip = (...args: string[]) => execute('ip', args);
  await ip(
    '-n',
    hub,
    'link',
    'add',
    'name',
    leg,
    'type',
    'veth',
    'peer',
    'name',
    'net0',
    'netns',
    space,
  );
  await ip('-n', hub, 'link', 'set', leg, 'master', 'hub0', 'up');
  await ip('-n', space, 'addr', 'add', `${address}/${PREFIX_LENGTH}`, 'dev', 'net0');
  await ip('-n', space, 'link', 'set', 'net0', 'up');
}

class NamespaceInUse implements Namespace {
  readonly name: string;
  readonly address: string | undefined;
  readonly #running = new Set<ChildProcess>();

  constructor(name: string, address: string | undefined) {
    this.name = name;
    this.address = address;
  }

  async exec(file: string, ...args: string[]): Promise<string> {
    return (await execute('ip', ['netns', 'exec', this.name, file, ...args])).stdout;
  }

  async runScript(script: URL, ...args: string[]): Promise<string> {
    return this.exec(process.execPath, script.pathname, ...args);
  }

  spawnScript(script: URL, ...args: string[]): LongRunning {
    const inside = ['netns', 'exec', this.name, process.execPath, script.pathname, ...args];
    const child = spawn('ip', inside, { stdio: ['ignore', 'pipe', 'inherit'] });
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return longRunning(child);
  }

  async stopAll(): Promise<void> {
    await Promise.all([...this.#running].map(stop));
  }
}

function longRunning(child: ChildProcess): LongRunning {
  const lines: string[] = [];
  const waiting = new Set<() => void>();
  const wake = (): void => {
    for (const next of [...waiting]) next();
  };
  const ended = new Promise<number | null>((resolve) => {
    child.once('close', resolve);
  });
  let isOver = false;
  void ended.then(() => {
    isOver = true;
    wake();
  });
  if (!child.stdout || child.pid === undefined) throw new Error('expected a process with output');
  createInterface(child.stdout).on('line', (line) => {
    lines.push(line);
    wake();
  });
  let read = 0;
  return {
    pid: child.pid,
    async line(wanted = () => true) {
      for (;;) {
        while (read < lines.length) {
          const line = lines[read++] as string;
          if (wanted(line)) return line;
        }
        if (isOver) throw new Error('the program ended before the line came');
        await new Promise<void>((resolve) => {
          const next = (): void => {
            waiting.delete(next);
            resolve();
          };
          waiting.add(next);
        });
      }
    },
    async finished() {
      const status = await ended;
      if (status !== 0) throw new Error(`the program ended with status ${status}`);
      return lines.join('\n');
    },
    stop: () => stop(child),
  };
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve());
  });
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await gone;
  clearTimeout(timer);
}
