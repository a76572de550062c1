/** Runs a verb at the running agent, or, when none runs and the verb allows it, on the organisation at rest. */

import { askAgent } from '../control/client.ts';
import { ControlError } from '../control/errors.ts';
import type { ArgumentsOf, ResultOf, VerbName } from '../control/verb-table.ts';
import { readConfig } from '../organisation/config/config.ts';
import type { Invocation } from './command.ts';
import { note } from './io.ts';

/**
 * What the verb gives, from wherever it can be had. Throws CONTROL_NOT_RUNNING for what only a running agent can do, before it asks
 * for a secret, and what the verb throws.
 */
export async function ask<V extends VerbName>(
  invocation: Invocation,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V>> {
  const config = readConfig(invocation.config);
  const progress = (text: string) => note(invocation.io, text);
  try {
    return await askRunning(config.socket, verb, args, progress);
  } catch (error) {
    if (!isNoAccess(error) && !isNotRunning(error)) throw error;
    // All that an organisation is made of: whoever an agent answers starts without it.
    const { verbTable } = await import('../control/verb-table.ts');
    const { reads, needs } = verbTable[verb];
    if (isNoAccess(error) && config.reading !== undefined && reads)
      return await askRunning(config.reading.socket, verb, args, progress);
    if (!isNotRunning(error) || needs === 'agent') throw error;
    const { askAtRest } = await import('./ask-at-rest.ts');
    return await askAtRest(config, invocation.io, verb, args);
  }
}

/** What the verb gives where an agent runs; undefined where none answers, or there is no configuration to find it by. */
export async function askWhereRunning<V extends VerbName>(
  invocation: Invocation,
  verb: V,
  args: ArgumentsOf<V>,
): Promise<ResultOf<V> | undefined> {
  try {
    const { socket } = readConfig(invocation.config);
    return await askRunning(socket, verb, args, (text) => note(invocation.io, text));
  } catch (error) {
    const { code } = error as { code?: string };
    if (isNotRunning(error) || code === 'CONFIG_NOT_FOUND') return undefined;
    throw error;
  }
}

/** No agent answers at the socket of the configuration. */
export function isNotRunning(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'CONTROL_NOT_RUNNING';
}

function isNoAccess(error: unknown): boolean {
  return error instanceof ControlError && error.code === 'CONTROL_NO_ACCESS';
}

/** The agent is the operator's own, and of the same version: its answer is what the table says. */
async function askRunning<V extends VerbName>(
  socket: string,
  verb: V,
  args: ArgumentsOf<V>,
  progress: (text: string) => void,
): Promise<ResultOf<V>> {
  const result: unknown = await askAgent(socket, { verb, args }, progress);
  return result as ResultOf<V>;
}
