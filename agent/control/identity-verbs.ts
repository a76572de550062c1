/** The own AID: what it is, its keys, and the operator's word that this state directory is the newest. */
import { StateTable } from '#src/store/state-table';
import { recordOwnEvents } from '../organisation/organisation.ts';
import { absolutePath, flag } from './arguments.ts';
import { confirmJson, identityJson } from './status.ts';
import { verbsOf } from './verb.ts';

const { needsAgent, needsState } = verbsOf({
  organisation: ['identity', 'keeper', 'drivers'],
  agent: ['rotate', 'sync', 'twin'],
});

export const identityVerbs = {
  'id.show': needsState({
    args: {},
    reads: true,
    run: async ({ organisation }) => ({
      schema: 'kelmesh.id/1',
      ...identityJson(organisation),
    }),
  }),
  'id.rotate': needsState({
    /** Keep what the own log holds that was not made here. */
    args: { adopt: flag },
    async run({ organisation, agent, progress }, change) {
      if (agent === undefined) {
        const { identity, keeper, drivers } = organisation;
        // What was not made here takes no anchor on top of it.
        if (!identity.hasForeignEvents) await keeper.anchor();
        await identity.rotate(change);
        await recordOwnEvents(identity, keeper, await StateTable.open(drivers.db, 'progress'));
      } else {
        progress('anchoring the audit log, rotating the keys, sealing new tunnel keys');
        await agent.rotate(change);
      }
      return { schema: 'kelmesh.id/1', ...identityJson(organisation) };
    },
  }),
  'id.backup': needsState({
    args: { file: absolutePath },
    async run({ organisation: { identity } }, { file }) {
      const keys = await identity.backUpNextKeys(file);
      const { sn, said } = identity.state.establishment;
      return {
        schema: 'kelmesh.id-backup/1',
        aid: identity.aid,
        file,
        keys,
        establishment: { sn, said },
      };
    },
  }),
  /** At rest an older audit log is taken as it is too: `confirmOrganisation`. */
  'id.confirm': needsAgent({
    args: {},
    async run({ organisation, agent }) {
      agent.sync.comparison.confirm();
      agent.twin.confirm();
      const against = await organisation.identity.confirmNewest();
      return confirmJson(organisation, against);
    },
  }),
};
