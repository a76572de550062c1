/** The log of an organisation with custodians, wherever it is kept. */

import { askWithoutKeys } from '../control/custody-at-rest.ts';
import { ControlError } from '../control/errors.ts';
import { readConfig } from '../organisation/config/config.ts';
import { ask, type JsonObject } from './ask.ts';
import type { Invocation } from './command.ts';

/** At the running agent, or in the state directory, with no key of it. */
export async function askLog(
  invocation: Invocation,
  verb: string,
  args: JsonObject,
): Promise<JsonObject> {
  try {
    return await ask(invocation, verb, args, { atRest: false });
  } catch (error) {
    if (!(error instanceof ControlError) || error.code !== 'CONTROL_NOT_RUNNING') throw error;
  }
  return askWithoutKeys(readConfig(invocation.config), verb, args);
}
