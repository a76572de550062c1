/**
 * What can be asked of an organisation, running or at rest: every verb takes and gives plain data.
 * The control socket and the commands on a stopped organisation call the same functions.
 */
import { isAbsolute } from 'node:path';
import { isAid } from '#kel/record/qualified';
import { writeOutput } from '#src/files/atomic-file';
import { StateTable } from '#src/store/state-table';
import { MembershipError } from '../mesh/membership/errors.ts';
import { parseInvite } from '../mesh/membership/invite.ts';
import { reachableAddresses } from '../mesh/membership/reachable.ts';
import { recordOwnEvents } from '../organisation/organisation.ts';
import { custodyVerbs } from './custody-verbs.ts';
import { ControlError } from './errors.ts';
import { evidenceVerbs } from './evidence-verbs.ts';
import { exportEvidence } from './export.ts';
import { logVerbs } from './log-verbs.ts';
import { nodeVerbs } from './node-verbs.ts';
import type { Json } from './protocol.ts';
import { queryVerbs } from './query-verbs.ts';
import { rotationVerbs } from './rotation-verbs.ts';
import {
  confirmJson,
  identityJson,
  knocksJson,
  meshJson,
  peersJson,
  statusJson,
} from './status.ts';
import { optionalText, running, text, type Verb, type VerbContext } from './verb.ts';
import { watchVerbs } from './watch-verbs.ts';
import { witnessVerbs } from './witness-verbs.ts';

export const verbs: Readonly<Record<string, Verb>> = {
  'id.show': async ({ organisation }) => ({
    schema: 'kelmesh.id/1',
    ...identityJson(organisation),
  }),
  'id.rotate': rotate,
  status: async ({ agent }) => statusJson(running(agent)),
  'peer.list': async ({ agent }) => ({
    schema: 'kelmesh.peers/1',
    peers: await peersJson(running(agent)),
  }),
  'mesh.create': async ({ organisation, name, args }) => {
    await organisation.governing.create({
      name: text(args, 'name'),
      memberName: name,
      epochSeconds: Number(args['epochSeconds'] ?? 3_600),
    });
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.invite': async ({ organisation, agent }) => {
    const line = organisation.governing.invite(
      reachableAddresses(running(agent).network.addresses(), organisation.membership.mesh),
    );
    const { governor } = organisation.membership;
    return {
      schema: 'kelmesh.invite/1',
      line,
      governs: governor === organisation.identity.aid,
    };
  },
  'mesh.join': async ({ organisation, args }) => {
    await organisation.governing.join(parseInvite(text(args, 'line')));
    return {
      schema: 'kelmesh.mesh/1',
      mesh: meshJson(organisation),
      aid: organisation.identity.aid,
    };
  },
  'mesh.admit': async ({ organisation, agent, args }) => {
    const aid = text(args, 'aid');
    if (!isAid(aid))
      throw new MembershipError('MESH_NOT_A_MEMBER', `${aid.slice(0, 64)} is not an AID`, {
        hint: 'Give the whole AID that `kelmesh id show` prints on the other side',
      });
    const knock = agent?.sync.knocks.get(aid);
    if (knock === undefined && args['yes'] !== true)
      throw new MembershipError(
        'MESH_NEVER_ASKED',
        agent === undefined
          ? `the agent does not run, so nobody knows whether ${aid} asks to join`
          : `${aid} has not asked to join`,
      );
    await organisation.governing.admit(
      aid,
      optionalText(args['name']) ??
        knock?.name ??
        `member-${aid
          .slice(1, 9)
          .toLowerCase()
          .replaceAll(/[^a-z0-9]/g, 'x')}`,
      { region: optionalText(args['region']) ?? '', again: args['again'] === true },
    );
    return {
      schema: 'kelmesh.mesh/1',
      mesh: meshJson(organisation),
      knocked: knock !== undefined,
    };
  },
  'mesh.rename': async ({ organisation, args }) => {
    await organisation.governing.rename(text(args, 'who'), text(args, 'name'));
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.hand-over': async ({ organisation, args }) => {
    await organisation.governing.handOver(optionalText(args['who']));
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.accept': async ({ organisation }) => {
    await organisation.governing.acceptGoverning();
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.leave': async ({ organisation, args }) => {
    await organisation.governing.leave(args['yes'] === true);
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.remove': async ({ organisation, args }) => {
    await organisation.governing.remove(text(args, 'who'), optionalText(args['reason']) ?? '');
    return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
  },
  'mesh.show': async ({ organisation, agent }) => ({
    schema: 'kelmesh.mesh/1',
    mesh: meshJson(organisation),
    knocks: agent === undefined ? [] : knocksJson(agent),
  }),
  ...logVerbs,
  ...evidenceVerbs,
  ...queryVerbs,
  ...watchVerbs,
  ...rotationVerbs,
  ...witnessVerbs,
  ...nodeVerbs,
  ...custodyVerbs,
  'id.confirm': async ({ organisation, agent }) => {
    agent?.sync.comparison.confirm();
    const against = await organisation.identity.confirmNewest();
    return confirmJson(organisation, against);
  },
  'audit.export': async ({ organisation, args }) => {
    const file = text(args, 'file');
    if (!isAbsolute(file))
      throw new ControlError('CONTROL_BAD_REQUEST', `expected an absolute path, got ${file}`);
    const bundle = await exportEvidence(organisation);
    await writeOutput(file, bundle);
    return {
      schema: 'kelmesh.audit-export/1',
      file,
      bytes: bundle.length,
      leaves: organisation.provenance.log.size,
    };
  },
};

async function rotate({ organisation, agent, args, progress }: VerbContext): Promise<Json> {
  const { identity, keeper } = organisation;
  const change = { adopt: args['adopt'] === true };
  if (agent === undefined) {
    // What was not made here takes no anchor on top of it.
    if (!identity.hasForeignEvents) await keeper.anchor();
    await identity.rotate(change);
    await recordOwnEvents(
      identity,
      keeper,
      await StateTable.open(organisation.drivers.db, 'progress'),
    );
  } else {
    progress('anchoring the audit log, rotating the keys, sealing new tunnel keys');
    await agent.rotate(change);
  }
  return { schema: 'kelmesh.id/1', ...identityJson(organisation) };
}
