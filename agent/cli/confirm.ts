/** The question before something that cannot be undone. */
import type { Invocation, Option } from './command.ts';
import { readYes } from './read-answer.ts';

export const yesOption: Option = { type: 'boolean', short: 'y', does: 'do not ask' };

/** Asks on the terminal, unless `--yes` is given. Where there is no terminal the command itself is the answer. */
export async function confirm(invocation: Invocation, question: string): Promise<boolean> {
  if (invocation.options['yes'] === true) return true;
  return (await readYes(invocation.io, question)) !== false;
}
