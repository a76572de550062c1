/**
 * KERIpy as a live counterpart: its own Python environment under `.tools/keripy`, and one process per
 * test run that reads and writes logs (`test/interop/keripy/driver.py`).
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

export interface KeripyRelease {
  readonly name: string;
  /** Every package of it with its digests, for pip. */
  readonly requirements: string;
  /** Command of a Python that it installs on. */
  readonly python: string;
  readonly directory: string;
  /** Where pyenv stands in front of the command, it runs the version that this asks for. */
  readonly pyenv?: { readonly PYENV_VERSION: string };
}

/** The last release that runs on every Python since 3.10. */
const PINNED: KeripyRelease = {
  name: 'keri==1.1.17',
  requirements: requirements('keri-1.1.17.txt'),
  python: 'python3',
  directory: tools('keripy'),
};

/** The newest one that reads protocol 1.0. */
export const NEWEST: KeripyRelease = {
  name: 'keri==1.3.6',
  requirements: requirements('keri-1.3.6.txt'),
  python: 'python3.13',
  pyenv: { PYENV_VERSION: '3.13' },
  directory: tools('keripy-1.3.6'),
};

const BUILD_REQUIREMENTS = requirements('build.txt');

const DRIVER = fileURLToPath(new URL('../../interop/keripy/driver.py', import.meta.url));

const run = promisify(execFile);

/** A key state as KERIpy sees it. */
export interface KeripyState {
  readonly aid: string;
  readonly sn: number;
  readonly said: string;
  readonly kind: string;
  readonly keys: readonly string[];
  readonly nextDigests: readonly string[];
  readonly signingThreshold: unknown;
  readonly nextThreshold: unknown;
  readonly witnesses: readonly string[];
  readonly witnessThreshold: number;
  readonly delegator: string | null;
}

export interface KeripyLog {
  /** As its controller sent it. */
  readonly stream: Uint8Array;
  /** As KERIpy replays it from its database. */
  readonly replay: Uint8Array;
  readonly state: KeripyState;
}

/**
 * Installs KERIpy where it is missing, or where the lists of digests changed since. pip refuses a file whose digest
 * is not in them, and what builds source packages is from such a list too.
 * @returns why it cannot run here, or undefined when it can
 */
export async function keripyMissing({
  name,
  requirements: list,
  python,
  directory,
  pyenv,
}: KeripyRelease = PINNED): Promise<string | undefined> {
  const own = pythonOf(directory);
  const stamp = `${directory}/requirements.sha256`;
  const wanted = await digestOf([BUILD_REQUIREMENTS, list]);
  try {
    if ((await readFile(stamp, 'utf8')) === wanted) {
      await run(own, ['-c', 'import keri.core.eventing']);
      return undefined;
    }
  } catch {
    // Not installed yet, or not completely.
  }
  const install = (...options: string[]) =>
    run(own, ['-m', 'pip', 'install', '--quiet', '--require-hashes', '--no-deps', ...options], {
      timeout: 240_000,
    });
  try {
    await run(python, ['-m', 'venv', '--clear', directory], { env: { ...process.env, ...pyenv } });
    await install('--only-binary', ':all:', '-r', BUILD_REQUIREMENTS);
    await install('--no-build-isolation', '-r', list);
    await run(own, ['-c', 'import keri.core.eventing']);
    await writeFile(stamp, wanted);
    return undefined;
  } catch (error) {
    const { stderr, message } = error as Error & { stderr?: string };
    const reason = (stderr?.trim() || message).split('\n').at(-1);
    return `${name} cannot run here (${python} with venv and pip, libsodium23): ${reason}`;
  }
}

/** Sequence number and last event of every AID that KERIpy accepts from the streams together. */
export async function keripyStates(
  streams: readonly Uint8Array[],
): Promise<readonly KeripyState[]> {
  await using keripy = new Keripy();
  return await keripy.read(streams);
}

export interface KeripySaid {
  readonly stream: Uint8Array;
  readonly state: KeripyState;
  /** Non-transferable. */
  readonly endpoint: string;
  readonly replies: readonly Uint8Array[];
  readonly queries: readonly Uint8Array[];
}

export interface KeripyHeard {
  /** AID, scheme, URL. */
  readonly locations: readonly (readonly [string, string, string])[];
  /** Controller, role, endpoint, allowed. */
  readonly roles: readonly (readonly [string, string, string, boolean])[];
  /** AID and who says so. */
  readonly notices: readonly (readonly [string, string])[];
  /** `replay` or `reply`, to whom, and the bytes in hex. */
  readonly answers: readonly (readonly ['replay' | 'reply', string, string])[];
}

/** One Python process; requests are answered in order. */
export class Keripy implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #answers: AsyncIterator<string>;
  readonly #lines: Interface;
  #stderr = '';

  constructor({ directory }: KeripyRelease = PINNED) {
    this.#process = spawn(pythonOf(directory), [DRIVER], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      this.#stderr += chunk.toString();
    });
    // A process that ended shows as the missing answer.
    this.#process.stdin?.on('error', () => {});
    this.#lines = createInterface({ input: this.#process.stdout as NodeJS.ReadableStream });
    this.#answers = this.#lines[Symbol.asyncIterator]();
  }

  /** All streams into one verifier. */
  async read(streams: readonly Uint8Array[]): Promise<readonly KeripyState[]> {
    const hex = streams.map((stream) => Buffer.from(stream).toString('hex'));
    const { states } = (await this.#ask({ op: 'read', streams: hex })) as { states: KeripyState[] };
    return states;
  }

  /** Time that KERIpy takes for one stream, without its start and the way there. */
  async measure(
    stream: Uint8Array,
  ): Promise<{ readonly seconds: number; readonly states: readonly KeripyState[] }> {
    const answer = await this.#ask({ op: 'measure', stream: Buffer.from(stream).toString('hex') });
    return answer as { seconds: number; states: KeripyState[] };
  }

  /** Logs of random shape; a log may be delegated by an earlier one. */
  async write(options: {
    seed: string | number;
    logs: number;
    kind: string;
    /** Default true. KERIpy 1.3 does not take every recovery that it writes. */
    recovers?: boolean;
  }): Promise<readonly KeripyLog[]> {
    const { logs } = (await this.#ask({ op: 'write', ...options })) as {
      logs: { stream: string; replay: string; state: KeripyState }[];
    };
    return logs.map(({ stream, replay, state }) => ({
      stream: Buffer.from(stream, 'hex'),
      replay: Buffer.from(replay, 'hex'),
      state,
    }));
  }

  /** A log, and what its controller and an endpoint say and ask. */
  async say(options: { seed: string; kind: string }): Promise<KeripySaid> {
    const { stream, replies, queries, ...others } = (await this.#ask({
      op: 'say',
      ...options,
    })) as {
      stream: string;
      replies: string[];
      queries: string[];
      state: KeripyState;
      endpoint: string;
    };
    const bytes = (hex: string) => Buffer.from(hex, 'hex');
    return {
      ...others,
      stream: bytes(stream),
      replies: replies.map(bytes),
      queries: queries.map(bytes),
    };
  }

  /** What KERIpy knows after logs, replies and queries, in this order. */
  async hear(streams: readonly Uint8Array[]): Promise<KeripyHeard> {
    const hex = streams.map((stream) => Buffer.from(stream).toString('hex'));
    return (await this.#ask({ op: 'hear', streams: hex })) as KeripyHeard;
  }

  async #ask(request: object): Promise<unknown> {
    this.#process.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.#answers.next();
    if (done) throw new Error(`KERIpy ended: ${this.#stderr.trim().slice(-2000)}`);
    return JSON.parse(value);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('close', resolve));
    this.#process.stdin?.end();
    this.#lines.close();
    this.#process.kill();
    await ended;
  }
}

async function digestOf(paths: readonly string[]): Promise<string> {
  const hash = createHash('sha256');
  for (const path of paths) hash.update(await readFile(path));
  return hash.digest('hex');
}

function requirements(name: string): string {
  return fileURLToPath(new URL(`../../interop/keripy/requirements/${name}`, import.meta.url));
}

function tools(name: string): string {
  return fileURLToPath(new URL(`../../../.tools/${name}`, import.meta.url));
}

function pythonOf(directory: string): string {
  return `${directory}/bin/python`;
}
