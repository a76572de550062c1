/** How a command meets people: results on stdout, everything else on stderr, plain ASCII, no secret on either. */
import type { ReadStream } from 'node:tty';

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
  /** Of `audit verify`: nothing contradicts, and something is missing. */
  incomplete: 6,
} as const;

export class UsageError extends Error {}

export function print(io: Io, text: string): void {
  io.stdout.write(`${text}\n`);
}

export function printJson(io: Io, value: unknown): void {
  io.stdout.write(`${JSON.stringify(value, undefined, 2)}\n`);
}

export function note(io: Io, text: string): void {
  io.stderr.write(`${text}\n`);
}

/** Columns padded to their widest cell, two spaces between. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows.reduce<number[]>(
    (max, row) => row.map((cell, i) => Math.max(max[i] ?? 0, cell.length)),
    [],
  );
  return rows
    .map((row) =>
      row
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}
