/** One organisation of the demonstration: its configuration, its process, and the commands that its operator would type. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { askAgent } from '#agent/control/client';
import type { Json } from '#agent/control/protocol';
import { NODE_FLAGS } from '#src/confinement';
import type { Patience } from './patience.ts';
import { type Place, World } from './world.ts';

const main = fileURLToPath(new URL('../agent/main.ts', import.meta.url));

/** Argon2 of three agents at once, libraries to load: seconds; the machine may be slow. */
const START_MS = 60_000;
/** One that does not answer any more is not asked for longer. */
const ANSWER_MS = 5_000;
const STOP_MS = 10_000;
/** Of the log of an agent that fell. */
const LAST_LINES = 15;

export interface OrganisationOptions {
  readonly tier: 'sealed-file' | 'softhsm';
  readonly interface: string;
  readonly patience: Patience;
  /** The agent ended, and nobody had asked it to. */
  readonly onFall: (reason: Error) => void;
}

export interface PeerStatus {
  readonly aid: string;
  readonly name: string;
  readonly state: string;
  readonly reason: string | null;
  readonly level: string | null;
  readonly epoch: number | null;
  readonly sn: number | null;
  readonly said: string | null;
  readonly generation: number;
  readonly agreement: string | null;
  readonly proof: string | null;
  readonly overlay: readonly string[];
}

export interface Status {
  readonly aid: string;
  readonly sn: number;
  readonly said: string;
  readonly interface: string | null;
  readonly driver: string;
  readonly overlay: readonly string[];
  readonly addresses: readonly string[];
  readonly rotating: boolean;
  readonly agreements: number;
  readonly peers: readonly PeerStatus[];
  readonly knocks: readonly { readonly aid: string }[];
  readonly counters: { readonly gossip: Readonly<Record<string, number>> };
  readonly mesh: {
    readonly isMember: boolean;
    readonly version: number | null;
    readonly revoked: { readonly reason: string } | null;
  } | null;
}

export class DemoOrganisation {
  readonly name: string;
  readonly place: Place;
  readonly dir: string;
  readonly config: string;
  readonly socket: string;
  aid = '';
  readonly #options: OrganisationOptions;
  #process: ChildProcess | undefined;
  readonly #commands = new Set<ChildProcess>();
  #hasStopped = false;

  constructor(name: string, place: Place, root: string, options: OrganisationOptions) {
    this.#options = options;
    this.name = name;
    this.place = place;
    this.dir = join(root, name);
    this.config = join(this.dir, 'kelmesh.toml');
    this.socket = join(this.dir, 'control.sock');
    mkdirSync(this.dir, { recursive: true, mode: 0o700 });
    writeFileSync(
      this.config,
      [
        `name = "${name}"`,
        'state = "state"',
        '[control]',
        'socket = "control.sock"',
        '[keystore]',
        `tier = "${options.tier}"`,
        'secret-file = "secret"',
        '[network]',
        `listen = ["/ip4/${place.address}/tcp/7400"]`,
        'mdns = true',
        '[tunnel]',
        `interface = "${options.interface}"`,
        // Short, so that the former key's device can be seen to go; the default is 180 s.
        'drain = 3',
        '[log]',
        'level = "debug"',
        '',
      ].join('\n'),
    );
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  /** Runs `kelmesh ARGS --json` in the organisation's namespace. */
  async kelmesh(...args: readonly string[]): Promise<Readonly<Record<string, Json>>> {
    const { stdout } = await this.run([
      process.execPath,
      ...NODE_FLAGS,
      main,
      ...args,
      '--config',
      this.config,
      '--json',
    ]);
    return JSON.parse(stdout) as Readonly<Record<string, Json>>;
  }

  /** Asks the running agent over its control socket. */
  async ask(
    verb: string,
    args: Readonly<Record<string, Json>> = {},
  ): Promise<Readonly<Record<string, Json>>> {
    return (await askAgent(this.socket, { verb, args }, () => undefined)) as Readonly<
      Record<string, Json>
    >;
  }

  async status(): Promise<Status> {
    return (await this.ask('status')) as unknown as Status;
  }

  async run(
    command: readonly string[],
    options: { readonly cwd?: string } = {},
  ): Promise<{ readonly stdout: string; readonly stderr: string }> {
    this.#requireOpen();
    const [program, ...args] = World.enter(this.place, command);
    return new Promise((resolve, reject) => {
      const child = execFile(
        program,
        args,
        { maxBuffer: 64 << 20, ...options },
        (error, stdout, stderr) => {
          this.#commands.delete(child);
          if (error === null) resolve({ stdout, stderr });
          else
            reject(
              new Error(
                `${this.name}: ${command.slice(2).join(' ')}: ${stderr.trim() || error.message}`,
                { cause: error },
              ),
            );
        },
      );
      this.#commands.add(child);
    });
  }

  /** A process in the namespace that this object ends again. */
  spawn(command: readonly string[], stdio: 'pipe' | 'log'): ChildProcess {
    this.#requireOpen();
    const [program, ...args] = World.enter(this.place, command);
    if (stdio === 'pipe') return spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    const log = openSync(join(this.dir, 'agent.log'), 'a', 0o600);
    // A group of its own: Ctrl-C is for the demonstration, which then takes the agents and their tunnels down.
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    return child;
  }

  /** Starts the agent in the foreground of its namespace and waits until it serves. */
  async start(): Promise<void> {
    const child = this.spawn(
      [process.execPath, ...NODE_FLAGS, main, 'up', '--foreground', '--config', this.config],
      'log',
    );
    this.#process = child;
    const fall = (how: string) => {
      if (!this.#hasStopped) this.#options.onFall(new Error(this.#lastWords(how)));
    };
    child.once('exit', (code, signal) => fall(`ended with ${signal ?? code}`));
    child.once('error', (error) => fall(`cannot be started: ${error.message}`));
    await this.#options.patience.until(START_MS, `the agent of ${this.name} serves`, () =>
      this.ask('ping').then(
        () => true,
        () => false,
      ),
    );
  }

  #lastWords(how: string): string {
    let log = '';
    try {
      log = readFileSync(join(this.dir, 'agent.log'), 'utf8');
    } catch {
      // It wrote nothing.
    }
    const lines = log.trimEnd().split('\n').slice(-LAST_LINES);
    return [`the agent of ${this.name} ${how}; its last lines:`, ...lines].join('\n        | ');
  }

  #requireOpen(): void {
    if (this.#hasStopped) throw new Error(`${this.name} has stopped`);
  }

  /** Ends the commands that still run, then the agent: `kelmesh down`, or, if that did not do, the process by its id. */
  async stop(): Promise<void> {
    this.#hasStopped = true;
    for (const command of this.#commands) command.kill();
    const child = this.#process;
    this.#process = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', () => resolve());
    });
    // Also one that hangs ends: it may never answer.
    const harder = [
      setTimeout(() => child.kill('SIGTERM'), ANSWER_MS),
      setTimeout(() => child.kill('SIGKILL'), STOP_MS),
    ];
    this.ask('down').catch(() => child.kill('SIGTERM'));
    await exited;
    for (const timer of harder) clearTimeout(timer);
  }

  /** As {@link status}, from an agent that may be in no state to answer; undefined then. */
  async lastStatus(): Promise<Status | undefined> {
    const late = Promise.withResolvers<undefined>();
    const timer = setTimeout(() => late.resolve(undefined), ANSWER_MS);
    try {
      return await Promise.race([this.status().catch(() => undefined), late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
