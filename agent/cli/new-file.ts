/** A file that a command writes: named by `--out`, and new. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Invocation, type Option, optionText } from './command.ts';
import { UsageError } from './io.ts';

export const outOption: Option = {
  type: 'string',
  short: 'o',
  value: 'FILE',
  does: 'file to write',
};

/** Nothing is overwritten. */
export function newFile(invocation: Invocation): string {
  const out = optionText(invocation, 'out');
  if (out === undefined) throw new UsageError('give a file to write: --out FILE');
  if (existsSync(out)) throw new UsageError(`${out} exists already`);
  return resolve(out);
}
