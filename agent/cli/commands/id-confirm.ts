import { confirmJson } from '../../control/status.ts';
import type { ResultOf } from '../../control/verb-table.ts';
import { readConfig } from '../../organisation/config/config.ts';
import { confirmOrganisation } from '../../organisation/organisation.ts';
import { ask, isNotRunning } from '../ask.ts';
import { keyStoreSecret, requireState } from '../ask-at-rest.ts';
import type { Command, Invocation } from '../command.ts';
import { confirm, yesOption } from '../confirm.ts';
import { exitCodes, note, print, printJson } from '../io.ts';
import { localDrivers } from '../local-drivers.ts';

export const idConfirm: Command = {
  name: 'id confirm',
  summary: 'say that this state directory is the newest: own events may be made again',
  details: `Own events wait while the stores of the state directory contradict each other (an older copy of one was put back), and
after a start until a member was asked whether it holds later ones. This is the word of the operator instead. Said in error it
forks the log at the next own event, and the peers suspend the AID. With the agent stopped it also goes on with an older copy of
the audit log, whose lost entries then show in every audit.`,
  options: { yes: yesOption },
  async run(invocation) {
    const question = 'is this state directory the newest, and has no other made own events since?';
    if (!(await confirm(invocation, question))) return exitCodes.ok;
    const result = await confirmNewest(invocation);
    if (invocation.json) printJson(invocation.io, result);
    else {
      print(invocation.io, `own events follow event ${result.sn}, ${result.said}`);
      if (result.against !== null) note(invocation.io, `confirmed against: ${result.against}`);
    }
    return exitCodes.ok;
  },
};

/** At the agent, or at rest, where an older audit log is taken as it is too. */
async function confirmNewest(invocation: Invocation): Promise<ResultOf<'id.confirm'>> {
  try {
    return await ask(invocation, 'id.confirm', {});
  } catch (error) {
    if (!isNotRunning(error)) throw error;
  }
  const config = readConfig(invocation.config);
  requireState(config);
  using secret = await keyStoreSecret(config, invocation.io);
  const drivers = await localDrivers(config, secret, invocation.io);
  const { organisation, against } = await confirmOrganisation(drivers);
  try {
    return confirmJson(organisation, against);
  } finally {
    await organisation.close();
  }
}
