/**
 * The relay of ciphertext in the data-plane program (`deploy/dataplane/relay`), in a process of its own: it outlives the agent, as devices
 * do, and the next one finds it by its socket. It is started when somebody is lent a session for the first time.
 */
import { spawn } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { replaceFile } from '../files/atomic-file.ts';
import { openForAppend } from '../files/log-file.ts';
import { searchPath } from './command.ts';
import { WireGuardError } from './errors.ts';
import { exchangeUapi, isListening } from './uapi-socket.ts';

const START_TIMEOUT_MS = 10_000;
const POLL_MS = 10;
const EEXIST = -17;
const ENOENT = -2;

/** What a session may use; both directions together. */
export interface RelayTerms {
  /** IP addresses of the two ends; undefined: not known, whoever shakes hands first. */
  readonly ends: readonly [string | undefined, string | undefined];
  readonly quotaBytes: number;
  readonly bytesPerSecond: number;
  /** A session over which nothing goes for so long is closed. */
  readonly idleSeconds: number;
}

export interface RelaySession {
  /** Letters, digits, `.`, `_` and `-`, at most 128. */
  readonly name: string;
  /** UDP ports, in the order of the ends. */
  readonly ports: readonly [number, number];
  readonly packets: number;
  readonly bytes: number;
}

export interface Relay {
  /** Closes a session of this name first. @throws WIREGUARD_UAPI_REFUSED when there is no room, and what starting it throws */
  open(name: string, terms: RelayTerms): Promise<readonly [number, number]>;
  /** @returns none while it has not been started */
  sessions(): Promise<readonly RelaySession[]>;
  /** Nothing happens when there is no session of this name. */
  close(name: string): Promise<void>;
  /** Ends the process with all its sessions. */
  stop(): Promise<void>;
}

export interface RelayProgramOptions {
  /** Absolute path of the data-plane program. */
  readonly path: string;
  /** Socket, pid file and log, mode 0700. */
  readonly stateDir: string;
  /** First and last UDP port. */
  readonly ports: readonly [number, number];
}

export class RelayProgram implements Relay {
  readonly #options: RelayProgramOptions;
  #starting: Promise<void> | undefined;

  constructor(options: RelayProgramOptions) {
    this.#options = options;
  }

  async open(name: string, terms: RelayTerms): Promise<readonly [number, number]> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    await this.#starting;
    const { ends, quotaBytes, bytesPerSecond, idleSeconds } = terms;
    const request = [
      `open=${name}`,
      ...ends.map((end) => `end=${end ?? 'any'}`),
      `quota_bytes=${quotaBytes}`,
      `rate_bytes=${bytesPerSecond}`,
      `idle_seconds=${idleSeconds}`,
    ];
    const first = await this.#ask(request);
    if (first.errno === EEXIST) await this.close(name);
    const answer = first.errno === EEXIST ? await this.#ask(request) : first;
    const [a, b] = answer.lines.map((line) => numberOf(line, 'port'));
    if (answer.errno !== 0 || a === undefined || b === undefined)
      throw new WireGuardError(
        'WIREGUARD_UAPI_REFUSED',
        `relay: expected a session, got errno ${answer.errno}`,
        { fields: { errno: answer.errno } },
      );
    return [a, b];
  }

  async sessions(): Promise<readonly RelaySession[]> {
    if (!(await isListening(this.#socketPath))) return [];
    return parseSessions((await this.#ask(['get=1'])).lines);
  }

  async close(name: string): Promise<void> {
    const { errno } = await this.#ask([`close=${name}`]);
    if (errno !== 0 && errno !== ENOENT)
      throw new WireGuardError(
        'WIREGUARD_UAPI_REFUSED',
        `relay: expected an end, got errno ${errno}`,
        { fields: { errno } },
      );
  }

  async stop(): Promise<void> {
    const text = await readFile(this.#pidPath, 'utf8').catch(() => '');
    const pid = /^[1-9]\d{0,9}\n$/.test(text) ? Number(text) : undefined;
    if (pid !== undefined && (await this.#isProgram(pid))) {
      process.kill(pid, 'SIGTERM');
      for (let waited = 0; waited < START_TIMEOUT_MS && (await this.#isProgram(pid)); )
        waited += await sleep(POLL_MS, POLL_MS);
    }
    for (const path of [this.#pidPath, this.#socketPath, this.#logPath])
      await rm(path, { force: true });
  }

  async #start(): Promise<void> {
    if (await isListening(this.#socketPath)) return;
    const { path, stateDir, ports } = this.#options;
    await mkdir(stateDir, { recursive: true, mode: 0o700 });
    await rm(this.#logPath, { force: true });
    await using log = await openForAppend(this.#logPath);
    const child = spawn(path, ['relay', this.#socketPath, ...ports.map(String)], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log.fd, log.fd],
      env: { PATH: searchPath() },
    });
    let isOver = false;
    child.once('error', () => {
      isOver = true;
    });
    child.once('exit', () => {
      isOver = true;
    });
    child.unref();
    for (let waited = 0; waited < START_TIMEOUT_MS && !isOver; waited += POLL_MS) {
      if (await isListening(this.#socketPath)) {
        await replaceFile(this.#pidPath, Buffer.from(`${child.pid}\n`));
        return;
      }
      await sleep(POLL_MS);
    }
    child.kill('SIGKILL');
    throw new WireGuardError(
      'WIREGUARD_PROGRAM_DIED',
      `${path}: expected a relay, got none (log ${this.#logPath})`,
    );
  }

  #ask(lines: readonly string[]): Promise<RelayAnswer> {
    const request = Buffer.from(`${lines.join('\n')}\n\n`, 'latin1');
    return exchangeUapi(this.#socketPath, request, parseAnswer);
  }

  async #isProgram(pid: number): Promise<boolean> {
    const line = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '');
    const [, verb, socket] = line.split('\0');
    return verb === 'relay' && socket === this.#socketPath;
  }

  get #socketPath(): string {
    return join(this.#options.stateDir, 'relay.sock');
  }

  get #pidPath(): string {
    return join(this.#options.stateDir, 'relay.pid');
  }

  get #logPath(): string {
    return join(this.#options.stateDir, 'relay.log');
  }
}

interface RelayAnswer {
  readonly lines: readonly string[];
  readonly errno: number;
}

function parseAnswer(bytes: Uint8Array): RelayAnswer {
  const lines = Buffer.from(bytes).toString('latin1').trimEnd().split('\n');
  const errno = /^errno=(0|-[1-9]\d{0,4})$/.exec(lines.pop() ?? '')?.[1];
  if (errno === undefined) throw malformedAnswer('errno at the end');
  return { lines, errno: Number(errno) };
}

/** @param lines as the program answers `get` @throws WIREGUARD_UAPI_MALFORMED */
function parseSessions(lines: readonly string[]): readonly RelaySession[] {
  const FIELDS = ['session', 'port', 'port', 'packets', 'bytes', 'unfit', 'beyond'];
  const sessions: RelaySession[] = [];
  for (let at = 0; at < lines.length; at += FIELDS.length) {
    const [name = '', ...rest] = FIELDS.map((key, i) => textAfter(lines[at + i] ?? '', key));
    const [first = 0, second = 0, packets = 0, bytes = 0] = rest.map((text, i) =>
      wholeNumber(text, FIELDS[i + 1] ?? ''),
    );
    sessions.push({ name, ports: [first, second], packets, bytes });
  }
  return sessions;
}

function numberOf(line: string, key: string): number {
  return wholeNumber(textAfter(line, key), key);
}

function textAfter(line: string, key: string): string {
  if (!line.startsWith(`${key}=`)) throw malformedAnswer(key);
  return line.slice(key.length + 1);
}

function wholeNumber(text: string, key: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text)) throw malformedAnswer(`${key}, a number`);
  return value;
}

function malformedAnswer(expected: string): WireGuardError {
  return new WireGuardError('WIREGUARD_UAPI_MALFORMED', `relay: expected ${expected}`);
}
