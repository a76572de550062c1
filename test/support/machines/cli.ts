/** `kelmesh` inside the test process: as fast as a call, with everything it prints. */
import { PassThrough, Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { runCli } from '#agent/cli/main';
import type { Json, Outcome } from './federation.ts';

/** Without a terminal to ask on. */
export async function cli(...args: readonly string[]): Promise<Outcome> {
  const [stdout, stderr] = [new Sink(), new Sink()];
  const stdin = new PassThrough() as unknown as ReadStream;
  const code = await runCli(args, { stdin, stdout, stderr });
  return { code, stdout: stdout.text, stderr: stderr.text };
}

/** What a command that fails says with `--json`, and its exit code. */
export async function cliError(...args: readonly string[]): Promise<Json> {
  const { code, stdout } = await cli(...args, '--json');
  const { schema, error } = JSON.parse(stdout);
  return { exit: code, schema, ...error };
}

/** What a command that succeeds says with `--json`. */
export async function cliJson(...args: readonly string[]): Promise<Json> {
  const { code, stdout, stderr } = await cli(...args, '--json');
  if (code !== 0) throw new Error(`kelmesh ${args.join(' ')} ended with ${code}: ${stderr}`);
  return JSON.parse(stdout);
}

class Sink extends Writable {
  readonly #chunks: Buffer[] = [];

  get text(): string {
    return Buffer.concat(this.#chunks).toString();
  }

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#chunks.push(chunk);
    done();
  }
}
