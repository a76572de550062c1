import { resolve } from 'node:path';
import { identityJson } from '../../control/status.ts';
import type { ResultOf } from '../../control/verb-table.ts';
import { IdentityError } from '../../identity/own/errors.ts';
import { readLogFile } from '../../mesh/watch/log-source.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { recoverOrganisation } from '../../organisation/organisation.ts';
import { ask } from '../ask.ts';
import { keyStoreSecret, requireState } from '../ask-at-rest.ts';
import { type Command, type Invocation, optionText } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson } from '../io.ts';
import { localDrivers } from '../local-drivers.ts';
import { planOption, showPlan } from './rotate.ts';

export const idRotate: Command = {
  name: 'id rotate',
  summary: 'rotate to the pre-rotated keys; the tunnels follow without losing a packet',
  details: `While the agent is stopped it also works where the key store has lost all but the next keys: what was sealed under the
others is made anew. Interactions of the own log that this agent did not make (somebody else has the current key) give way to the
rotation, with all that they seal. After a backup was restored they are yours: \`--adopt\` keeps them.`,
  options: {
    plan: planOption,
    adopt: {
      type: 'boolean',
      does: 'keep what the own log holds that was not made here: this state directory was restored from a backup',
    },
    log: {
      type: 'string',
      value: 'FILE',
      does: 'with the agent stopped: take this own log in first, as a member has exported it',
    },
    yes: yesOption,
  },
  async run(invocation) {
    if (invocation.options['plan'] === true) return showPlan(invocation, 'id');
    if (!(await confirm(invocation, 'rotate the keys of this organisation?'))) return exitCodes.ok;
    const adopt = invocation.options['adopt'] === true;
    const log = optionText(invocation, 'log');
    const result =
      log === undefined
        ? await rotate(invocation, adopt)
        : await recoverAtRest(invocation, adopt, readLogFile(resolve(log)));
    if (invocation.json) printJson(invocation.io, result);
    else {
      print(invocation.io, `event ${result.sn}, ${result.said}`);
      note(invocation.io, 'next: `kelmesh status` shows the tunnels change over');
      note(invocation.io, 'a backup from before holds no next keys any more: make a new one');
    }
    return exitCodes.ok;
  },
};

function isCuredByRotation(code: string, adopt: boolean): boolean {
  return code === 'IDENTITY_CURRENT_KEYS_LOST' || (code === 'IDENTITY_LOG_DIVERGED' && adopt);
}

/** At the agent, or at rest; where that lacks keys, with the next ones alone. */
async function rotate(invocation: Invocation, adopt: boolean): Promise<ResultOf<'id.rotate'>> {
  try {
    return await ask(invocation, 'id.rotate', { adopt });
  } catch (error) {
    if (!(error instanceof IdentityError) || !isCuredByRotation(error.code, adopt)) throw error;
    note(invocation.io, `${error.code}: ${error.message}`);
    note(invocation.io, 'rotating with the next keys alone');
    return recoverAtRest(invocation, adopt);
  }
}

async function recoverAtRest(
  { config: file, io }: Invocation,
  adopt: boolean,
  log?: Uint8Array,
): Promise<ResultOf<'id.rotate'>> {
  const config = readConfig(file);
  requireState(config);
  using secret = await keyStoreSecret(config, io);
  const drivers = await localDrivers(config, secret, io);
  const organisation = await recoverOrganisation(drivers, { adopt }, log);
  try {
    return { schema: 'kelmesh.id/1', ...identityJson(organisation) };
  } finally {
    await organisation.close();
  }
}
