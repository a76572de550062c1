/**
 * How a command meets people: results on stdout, everything else on stderr, no secret on either. The one way to the
 * terminal: whatever is printed goes through `visible`.
 */
import type { ReadStream, WriteStream } from 'node:tty';
import { visible, visibleJson } from '#src/visible';

export interface Io {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly stdin: ReadStream;
}

/** Documented in `docs/cli.md`; scripts may rely on them. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  notRunning: 3,
  noAccess: 4,
  /** Of `doctor`: a check is an error. */
  errors: 5,
  /** Of `audit verify`: nothing contradicts, and something is missing. */
  incomplete: 6,
} as const;

/** The command line is wrong. */
export class UsageError extends Error {
  /** Which help explains it; set where the command is known. */
  help = 'kelmesh --help';
}

/** A line each; a line break within one shows as an escape. */
export type Lines = string | readonly string[];

export function print(io: Io, lines: Lines): void {
  io.stdout.write(shown(lines));
}

export function printJson(io: Io, value: unknown): void {
  io.stdout.write(`${visibleJson(JSON.stringify(value, undefined, 2))}\n`);
}

/**
 * A file on stdout, for a pipe; a terminal gets it only when it is lines of printable text.
 * @throws UsageError otherwise
 */
export function printFile(io: Io, bytes: Uint8Array): void {
  const isTerminal = (io.stdout as Partial<WriteStream>).isTTY === true;
  if (isTerminal && !Buffer.from(bytes).toString().split('\n').every(isPrintable))
    throw new UsageError('this is not text for a terminal: give --out FILE, or a pipe');
  io.stdout.write(bytes);
}

export function note(io: Io, lines: Lines): void {
  io.stderr.write(shown(lines));
}

function shown(lines: Lines): string {
  return [lines]
    .flat()
    .map((line) => `${visible(line)}\n`)
    .join('');
}

function isPrintable(line: string): boolean {
  return visible(line) === line;
}

/** Lines of columns padded to their widest cell, two spaces between. */
export function table(rows: readonly (readonly string[])[]): readonly string[] {
  return padded(rows.map((row) => row.map(visible)));
}

function padded(rows: readonly (readonly string[])[]): readonly string[] {
  const widths = rows.reduce<number[]>(
    (max, row) => row.map((cell, i) => Math.max(max[i] ?? 0, cell.length)),
    [],
  );
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
