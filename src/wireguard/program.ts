/**
 * The process of a userspace device. It stands on its own: an agent that ends, also by `kill -9`, leaves it running, and
 * the next one finds it by its pid file or, where a crash came before that was written, by its command line.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, readdir, readFile, readlink, rm, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { replaceFile } from '../files/atomic-file.ts';
import { openForAppend } from '../files/log-file.ts';
import { searchPath } from './command.ts';
import { WireGuardError, type WireGuardErrorCode } from './errors.ts';
import type { InterfaceName } from './tunnel-driver.ts';
import { isListening } from './uapi-socket.ts';
import { parseInterfaceName } from './values.ts';

const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 5_000;
const POLL_MS = 10;
const MAX_LOG_BYTES = 1024 * 1024;
const TUN_DEVICE = '/dev/net/tun';

/** The project's own, which tells events, and the stock one; in order of preference. A device of either is taken over. */
export const USERSPACE_PROGRAMS = ['kelmesh-dataplane', 'wireguard-go'] as const;

export interface ProgramOptions {
  /** Absolute path of wireguard-go. */
  readonly path: string;
  /** Pid files and logs; made when missing, mode 0700. */
  readonly stateDir: string;
  /** Where the program opens its sockets. */
  readonly socketDir: string;
  /** A name of `ip netns`; absent: the network namespace of this process. */
  readonly namespace?: string;
}

export class TunnelProgram {
  readonly #options: ProgramOptions;

  constructor(options: ProgramOptions) {
    this.#options = options;
  }

  socketPath(name: InterfaceName): string {
    return join(this.#options.socketDir, `${name}.sock`);
  }

  /** Only the project's own program opens it. */
  eventsPath(name: InterfaceName): string {
    return join(this.#options.socketDir, `${name}.events`);
  }

  /** As {@link eventsPath}. */
  probesPath(name: InterfaceName): string {
    return join(this.#options.socketDir, `${name}.probes`);
  }

  /** @returns process id of the program of this device, undefined when none runs in this network namespace */
  async find(name: InterfaceName): Promise<number | undefined> {
    const known = await this.#readPid(name);
    if (known !== undefined && (await this.#isProgram(known, name))) return known;
    for (const entry of await readdir('/proc'))
      if (/^\d+$/.test(entry) && (await this.#isProgram(Number(entry), name))) {
        await this.#writePid(name, Number(entry));
        return Number(entry);
      }
    return undefined;
  }

  /** Names with a running program and a pid file in the state directory. */
  async list(): Promise<InterfaceName[]> {
    const files = await readdir(this.#options.stateDir).catch(() => []);
    const running: InterfaceName[] = [];
    for (const file of files) {
      const text = /^([A-Za-z0-9_][A-Za-z0-9_.-]{0,14})\.pid$/.exec(file)?.[1];
      if (text === undefined) continue;
      const name = parseInterfaceName(text);
      const pid = await this.#readPid(name);
      if (pid !== undefined && (await this.#isProgram(pid, name))) running.push(name);
    }
    return running;
  }

  /**
   * Starts the program and waits for its socket.
   * @throws WIREGUARD_NO_TUN, WIREGUARD_NO_PRIVILEGE, WIREGUARD_NO_PROGRAM, WIREGUARD_NAME_TAKEN, WIREGUARD_PROGRAM_DIED
   */
  async start(name: InterfaceName): Promise<void> {
    await this.#expectTun();
    if (await isListening(this.socketPath(name)))
      throw new WireGuardError(
        'WIREGUARD_NAME_TAKEN',
        `${name}: expected no program at ${this.socketPath(name)}, got one that answers`,
      );
    await mkdir(this.#options.stateDir, { recursive: true, mode: 0o700 });
    const started = await this.#spawn(name);
    try {
      await this.#waitForSocket(name, started);
      await this.#writePid(name, started.pid);
    } catch (error) {
      await endProcess(started.pid, () => Promise.resolve(started.outcome === undefined));
      // The log stays: the message refers to it.
      await rm(this.#pidPath(name), { force: true });
      throw error;
    }
  }

  /** Ends the program, waits until it is gone, and removes its files. Nothing happens when none runs. */
  async stop(name: InterfaceName): Promise<void> {
    const pid = await this.find(name);
    if (pid !== undefined) {
      await endProcess(pid, () => this.#isProgram(pid, name));
      // Killed hard, it leaves its socket.
      await rm(this.socketPath(name), { force: true });
      await rm(this.eventsPath(name), { force: true });
      await rm(this.probesPath(name), { force: true });
    }
    await this.#removeFiles(name);
  }

  /** The program appends to its log for as long as it lives: what is too long is cut to nothing. */
  async boundLog(name: InterfaceName): Promise<void> {
    const path = this.#logPath(name);
    const size = await stat(path).then(
      (stats) => stats.size,
      () => 0,
    );
    if (size <= MAX_LOG_BYTES) return;
    await using log = await openForAppend(path);
    await log.truncate(0);
  }

  async #spawn(name: InterfaceName): Promise<Started> {
    const { path, namespace } = this.#options;
    const enter = namespace === undefined ? [] : ['ip', 'netns', 'exec', namespace];
    const [file = path, ...args] = [...enter, path, '-f', name];
    // Made anew: a program that still holds the former one goes on writing to that.
    await rm(this.#logPath(name), { force: true });
    await using log = await openForAppend(this.#logPath(name));
    const child = spawn(file, args, {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: searchPath(), WG_PROCESS_FOREGROUND: '1', LOG_LEVEL: 'error' },
    });
    if (child.pid === undefined) {
      const [cause] = await once(child, 'error');
      const message = `${file}: expected a program, got ${cause.code}`;
      throw new WireGuardError('WIREGUARD_NO_PROGRAM', message, { cause });
    }
    const started: Started = { pid: child.pid, outcome: undefined };
    child.on('exit', (status, signal) => {
      started.outcome = signal ?? `status ${status}`;
    });
    child.unref();
    return started;
  }

  async #waitForSocket(name: InterfaceName, started: Started): Promise<void> {
    for (let waited = 0; waited < START_TIMEOUT_MS; waited += POLL_MS) {
      if (started.outcome !== undefined) throw await this.#died(name, started.outcome);
      if (await isListening(this.socketPath(name))) return;
      await sleep(POLL_MS);
    }
    throw await this.#died(name, `no socket after ${START_TIMEOUT_MS} ms`);
  }

  /** The reason stands in the log, in the words of the system. */
  async #died(name: InterfaceName, outcome: string): Promise<WireGuardError> {
    const log = await readFile(this.#logPath(name), 'utf8').catch(() => '');
    const lines = log.split('\n').filter((line) => line !== '');
    const said = (lines.findLast((line) => line.startsWith('ERROR')) ?? lines.at(-1) ?? '').slice(
      0,
      300,
    );
    const code = causes.find(([pattern]) => pattern.test(said))?.[1];
    return new WireGuardError(
      code ?? 'WIREGUARD_PROGRAM_DIED',
      `${this.#options.path} for ${name}: expected a device, got ${outcome}: "${said}" (log ${this.#logPath(name)})`,
    );
  }

  async #expectTun(): Promise<void> {
    try {
      await access(TUN_DEVICE);
    } catch (cause) {
      const message = `expected the device file ${TUN_DEVICE}, got none`;
      throw new WireGuardError('WIREGUARD_NO_TUN', message, { cause });
    }
  }

  /** Whether `pid` is the program of this device in this network namespace: pids are used again. */
  async #isProgram(pid: number, name: InterfaceName): Promise<boolean> {
    try {
      const [file = '', ...args] = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
      const names: readonly string[] = [basename(this.#options.path), ...USERSPACE_PROGRAMS];
      if (!names.includes(basename(file))) return false;
      if (args.length !== 3 || args[0] !== '-f' || args[1] !== name) return false;
      return (await readlink(`/proc/${pid}/ns/net`)) === (await this.#networkNamespace());
    } catch {
      return false;
    }
  }

  async #networkNamespace(): Promise<string> {
    const { namespace } = this.#options;
    if (namespace === undefined) return readlink('/proc/self/ns/net');
    return `net:[${(await stat(join('/run/netns', namespace))).ino}]`;
  }

  async #readPid(name: InterfaceName): Promise<number | undefined> {
    const text = await readFile(this.#pidPath(name), 'utf8').catch(() => '');
    return /^[1-9]\d{0,9}\n$/.test(text) ? Number(text) : undefined;
  }

  async #writePid(name: InterfaceName, pid: number): Promise<void> {
    await mkdir(this.#options.stateDir, { recursive: true, mode: 0o700 });
    await replaceFile(this.#pidPath(name), Buffer.from(`${pid}\n`));
  }

  async #removeFiles(name: InterfaceName): Promise<void> {
    for (const path of [this.#pidPath(name), `${this.#pidPath(name)}.tmp`, this.#logPath(name)])
      await rm(path, { force: true });
  }

  #pidPath(name: InterfaceName): string {
    return join(this.#options.stateDir, `${name}.pid`);
  }

  #logPath(name: InterfaceName): string {
    return join(this.#options.stateDir, `${name}.log`);
  }
}

interface Started {
  readonly pid: number;
  /** Undefined while it runs. */
  outcome: string | undefined;
}

const causes: readonly [RegExp, WireGuardErrorCode][] = [
  [/^exec of .* failed/, 'WIREGUARD_NO_PROGRAM'],
  [/\/dev\/net\/tun does not exist/, 'WIREGUARD_NO_TUN'],
  [/operation not permitted|permission denied/i, 'WIREGUARD_NO_PRIVILEGE'],
  [/unix socket in use|device or resource busy/i, 'WIREGUARD_NAME_TAKEN'],
];

/** Asks, then forces; resolves when `isRunning` says that it is gone. */
async function endProcess(pid: number, isRunning: () => Promise<boolean>): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!(await isRunning())) return;
    try {
      process.kill(pid, signal);
    } catch {
      return;
    }
    for (let waited = 0; waited < STOP_TIMEOUT_MS; waited += POLL_MS) {
      if (!(await isRunning())) return;
      await sleep(POLL_MS);
    }
  }
}
