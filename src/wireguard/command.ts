/** Running a program of the system: bounded output, a time limit, nothing through a shell. */
import { spawn } from 'node:child_process';
import { secretBytes } from '#src/secret';
import { WireGuardError } from './errors.ts';

const MAX_OUTPUT_BYTES = 64 * 1024 * 1024;
const TIMEOUT_MS = 10_000;

export interface CommandResult {
  /** Exit status; undefined when a signal ended the program. */
  readonly status: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output in place of `stdout`, where `secretOutput` was asked for; the caller wipes it. */
  readonly secretOutput?: Uint8Array;
}

export interface CommandInput {
  /** Written to standard input. */
  readonly stdin?: string;
  /** File descriptors that the program inherits as 3, 4, …. */
  readonly descriptors?: readonly number[];
  /** The program prints keys: what it prints is never a string here. */
  readonly secretOutput?: boolean;
}

/** The seam of the drivers to the system: `(file, arguments, input)`. */
export type RunCommand = (
  file: string,
  args: readonly string[],
  input?: CommandInput,
) => Promise<CommandResult>;

/** @throws WIREGUARD_NO_PROGRAM when there is no such program, WIREGUARD_COMMAND_FAILED when it takes too long or says too much */
export const runCommand: RunCommand = async (file, args, input = {}) => {
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  const child = spawn(file, args, {
    stdio: ['pipe', 'pipe', 'pipe', ...(input.descriptors ?? [])],
    timeout: TIMEOUT_MS,
    env: { PATH: searchPath(), LC_ALL: 'C' },
  });
  const [stdin, stdout, stderr] = [child.stdin, child.stdout, child.stderr];
  if (!stdin || !stdout || !stderr) throw new TypeError('expected three pipes');
  const out = collect(stdout, () => child.kill());
  const err = collect(stderr, () => child.kill());
  child.on('error', (cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT';
    const message = `${file}: expected a program, got ${cause.code}`;
    const code = missing ? 'WIREGUARD_NO_PROGRAM' : 'WIREGUARD_COMMAND_FAILED';
    reject(new WireGuardError(code, message, { cause }));
  });
  child.on('close', (status) => {
    const output = out();
    const isSecret = input.secretOutput === true;
    resolve({
      status: status ?? undefined,
      stdout: isSecret ? '' : output.toString('utf8'),
      stderr: err().toString('utf8'),
      ...(isSecret ? { secretOutput: output } : {}),
    });
  });
  // A program that does not read to the end is judged by its status.
  stdin.on('error', () => undefined);
  stdin.end(input.stdin ?? '');
  return promise;
};

/** Where the tools of the system lie, also for a user whose PATH has no `sbin`. */
export function searchPath(): string {
  return [process.env['PATH'] ?? '', '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin']
    .filter((part) => part !== '')
    .join(':');
}

/** The output of a command that must succeed. @throws WIREGUARD_NO_PRIVILEGE, WIREGUARD_COMMAND_FAILED with what it said */
export function expectSuccess(command: string, result: CommandResult): string {
  if (result.status === 0) return result.stdout;
  const said = (result.stderr || result.stdout).trim().slice(0, 500);
  if (/operation not permitted|permission denied/i.test(said))
    throw new WireGuardError(
      'WIREGUARD_NO_PRIVILEGE',
      `${command}: expected to be allowed, got "${said}"`,
    );
  throw new WireGuardError(
    'WIREGUARD_COMMAND_FAILED',
    `${command}: expected status 0, got ${result.status ?? 'a signal'}: "${said}"`,
  );
}

function collect(stream: NodeJS.ReadableStream, tooMuch: () => void): () => Buffer {
  const chunks: Buffer[] = [];
  let size = 0;
  stream.on('data', (chunk: Buffer) => {
    size += chunk.length;
    if (size > MAX_OUTPUT_BYTES) tooMuch();
    else chunks.push(chunk);
  });
  return () => {
    const whole = secretBytes(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
    let at = 0;
    for (const chunk of chunks) {
      whole.set(chunk, at);
      at += chunk.length;
      chunk.fill(0);
    }
    return whole;
  };
}
