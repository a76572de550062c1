/** The other programs that speak Rosenpass, where `npm run test:rosenpass` or somebody else has put them. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const KELMESH = join(ROOT, 'deploy/kelmesh.mjs');

export const otherPrograms = ['rosenpass', 'go-rosenpass'] as const;
export type OtherProgram = (typeof otherPrograms)[number];

/** @returns a path; undefined when it is not on this machine */
export function findOther(name: OtherProgram): string | undefined {
  const folders = [
    join(ROOT, '.tools/rosenpass/bin'),
    ...(process.env['PATH'] ?? '').split(delimiter),
  ];
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

/** A program that runs, and the lines that it has printed of keys. */
export class RunningExchange implements AsyncDisposable {
  readonly lines: string[] = [];
  /** What it has said beside them, for a failure. */
  said = '';
  readonly #process: ChildProcess;

  /** @param program undefined: this project's */
  constructor(program: string | undefined, config: string, cwd: string) {
    const [file, args] =
      program === undefined
        ? [process.execPath, [KELMESH, 'rosenpass', 'exchange-config', config]]
        : [program, ['exchange-config', config]];
    this.#process = spawn(file, args, { cwd, stdio: ['ignore', 'pipe', 'pipe'] });
    const { stdout, stderr } = this.#process;
    if (stdout === null || stderr === null) throw new TypeError('no pipes');
    createInterface(stdout).on('line', (line) => this.lines.push(line));
    stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.said = (this.said + chunk).slice(-4_000);
    });
  }

  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** Keys that were exchanged. */
  get exchanged(): number {
    return this.lines.filter((line) => line.endsWith(' exchanged')).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.hasEnded) return;
    const end = once(this.#process, 'close');
    this.#process.kill('SIGTERM');
    await end;
  }
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
