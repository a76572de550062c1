import { identityJson } from '../../control/status.ts';
import type { Config } from '../../organisation/config/config.ts';
import { createOrganisation } from '../../organisation/organisation.ts';
import { type Command, optionText } from '../command.ts';
import { exitCodes, type Io, note, print, printJson } from '../io.ts';
import { inNewState, newStateOptions } from '../new-state.ts';

export const init: Command = {
  name: 'init',
  summary: 'create the identity of this organisation, its keys and its logs',
  details: `Writes a configuration file when there is none (then --name is needed), makes the key store, and incepts
the key event log: one signing key now, the next one made and committed to already.`,
  options: {
    name: {
      type: 'string',
      value: 'NAME',
      does: 'name of the organisation, for a new configuration file',
    },
    ...newStateOptions,
  },
  async run(invocation) {
    const { io } = invocation;
    const { config, result } = await inNewState(
      invocation,
      optionText(invocation, 'name'),
      async (drivers, { keyStore, log }) => {
        const organisation = await createOrganisation(drivers, {
          algorithm: keyStore.algorithm,
          kind: log.kind,
        });
        const identity = identityJson(organisation);
        await organisation.close();
        return identity;
      },
    );
    if (invocation.json) printJson(io, { schema: 'kelmesh.id/1', config: config.file, ...result });
    else describe(io, config, String(result['aid']));
    return exitCodes.ok;
  },
};

function describe(io: Io, config: Config, aid: string): void {
  print(io, `AID ${aid}`);
  note(io, `configuration ${config.file}, state ${config.stateDir}`);
  note(
    io,
    'next: `kelmesh mesh create NAME` to found a mesh, or `kelmesh mesh join LINE` with a line from a governor; then `kelmesh up`',
  );
}
