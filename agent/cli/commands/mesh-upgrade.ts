import type { ResultOf } from '../../control/verb-table.ts';
import { ask } from '../ask.ts';
import { type Command, type Invocation, optionList } from '../command.ts';
import { exitCodes, note, print, printJson, table, UsageError } from '../io.ts';

type UpgradeJson = ResultOf<'mesh.upgrade'> | ResultOf<'mesh.readiness'>;

export const meshUpgrade: Command = {
  name: 'mesh upgrade',
  summary:
    'move the mesh to records of version 2, when every member is ready: there is no way back',
  details: `Until then members of 0.1 take part, and everybody writes what they read. From then on every member issues its tunnel keys, endpoints
and node record in version 2, in which tunnel keys prove their possession; and who speaks the older protocols alone is refused.`,
  options: {
    check: { type: 'boolean', does: 'only show who is ready; exit code 1 when somebody is not' },
    without: {
      type: 'string',
      value: 'NAME',
      multiple: true,
      does: 'leave this member behind: its tunnels get no newer keys until its agent is updated',
    },
  },
  async run(invocation) {
    const without = optionList(invocation, 'without');
    const isCheck = invocation.options['check'] === true;
    if (isCheck && without.length > 0) throw new UsageError('--check takes no --without');
    if (isCheck) {
      const result = await ask(invocation, 'mesh.readiness', {});
      show(invocation, result);
      return result.ready ? exitCodes.ok : exitCodes.failed;
    }
    const result = await ask(invocation, 'mesh.upgrade', { without });
    show(invocation, result);
    return exitCodes.ok;
  },
};

function show(invocation: Invocation, result: UpgradeJson): void {
  const { io, json } = invocation;
  if (json) {
    printJson(io, result);
    return;
  }
  print(io, [
    `records        version ${result.recordVersion}`,
    ...table(result.members.map(({ name, state, reason }) => [name, state, reason])),
  ]);
  note(io, nextOf(result));
}

function nextOf({ upgraded, recordVersion, ready, isGovernor }: UpgradeJson): string {
  if (upgraded)
    return 'every member now issues its tunnel keys, endpoints and node record anew: `kelmesh rotate status` shows the tunnels follow';
  if (recordVersion === 2) return 'the mesh writes records of version 2 already';
  if (!ready)
    return 'next: update or connect who is not ready; `kelmesh mesh upgrade --without NAME` leaves one behind';
  return isGovernor
    ? 'next: `kelmesh mesh upgrade`; there is no way back'
    : 'next, at the governor: `kelmesh mesh upgrade`';
}
