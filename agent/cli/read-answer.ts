/** Asks a person for a yes before something that cannot be undone. */
import { createInterface } from 'node:readline/promises';
import { visible } from '#src/visible';
import type { Io } from './io.ts';

/** @returns undefined when there is no terminal to ask on */
export async function readYes(io: Io, question: string): Promise<boolean | undefined> {
  if (!io.stdin.isTTY) return undefined;
  const prompt = createInterface({ input: io.stdin, output: io.stderr });
  try {
    return (
      (await prompt.question(`${visible(question)} Type yes: `)).trim().toLowerCase() === 'yes'
    );
  } finally {
    prompt.close();
  }
}
