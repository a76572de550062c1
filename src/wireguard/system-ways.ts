/** {@link Ways} of the network namespace of this process: `ip` is asked, and `ip monitor` tells what changes. */
import { type ChildProcess, spawn } from 'node:child_process';
import { type RunCommand, runCommand, searchPath } from './command.ts';
import { lookAtWays, type Ways, type WaysLook, type WaysWatch } from './ways.ts';

/** One that has ended is started again after this. */
const RESTART_MS = 5_000;
const MONITOR = ['ip', '-o', 'monitor', 'link', 'address', 'route', 'rule'];
/** It ends with whoever has started it, also when that is killed. */
const WITH_ITS_PARENT = ['setpriv', '--pdeathsig', 'KILL', '--'];

export class SystemWays implements Ways {
  readonly #run: RunCommand;
  /** Runs while anybody listens, once for all of them. */
  #monitor: Monitor | undefined;
  readonly #listeners = new Set<() => void>();

  constructor(run: RunCommand = runCommand) {
    this.#run = run;
  }

  look(addresses: readonly string[]): Promise<WaysLook> {
    return lookAtWays(this.#run, addresses);
  }

  watch(listener: () => void): WaysWatch {
    // One that listens twice is told twice.
    const told = () => listener();
    this.#listeners.add(told);
    this.#monitor ??= new Monitor(() => {
      for (const tell of this.#listeners) tell();
    });
    const monitor = this.#monitor;
    return {
      get isTelling() {
        return monitor.isTelling;
      },
      [Symbol.dispose]: () => {
        this.#listeners.delete(told);
        if (this.#listeners.size > 0 || this.#monitor !== monitor) return;
        this.#monitor = undefined;
        monitor[Symbol.dispose]();
      },
    };
  }
}

/** What it prints is not read: that it prints says that something has changed. */
class Monitor implements Disposable {
  readonly #listener: () => void;
  #child: ChildProcess | undefined;
  #restart: NodeJS.Timeout | undefined;
  #command: readonly string[] = [...WITH_ITS_PARENT, ...MONITOR];
  #isOver = false;

  get isTelling(): boolean {
    return this.#child?.pid !== undefined && this.#restart === undefined;
  }

  constructor(listener: () => void) {
    this.#listener = listener;
    this.#start();
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
    clearTimeout(this.#restart);
    this.#child?.kill('SIGKILL');
  }

  #start(): void {
    const [file = '', ...args] = this.#command;
    const child = spawn(file, args, {
      stdio: ['ignore', 'pipe', 'ignore'],
      env: { PATH: searchPath(), LC_ALL: 'C' },
    });
    this.#child = child;
    child.stdout?.on('data', () => this.#listener());
    child.once('error', () => {
      // A system without the first program; without the second one it is tried again, and asked meanwhile.
      this.#command = MONITOR;
    });
    child.once('close', () => this.#again());
    // A process does not stay for it.
    child.unref();
    (child.stdout as { unref?(): void } | null)?.unref?.();
  }

  /** What happened meanwhile was not told. */
  #again(): void {
    if (this.#isOver) return;
    this.#restart = setTimeout(() => {
      this.#restart = undefined;
      this.#start();
      this.#listener();
    }, RESTART_MS);
    this.#restart.unref();
  }
}
