/** The mesh: founding it, joining it, who is in it and who governs. */
import { MembershipError } from '../mesh/membership/errors.ts';
import { type Invite, parseInvite } from '../mesh/membership/invite.ts';
import { reachableAddresses } from '../mesh/membership/reachable.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { type Argument, aidOr, flag, line, oneOf, optional, text, whole } from './arguments.ts';
import { knocksJson, meshJson } from './status.ts';
import { verbsOf } from './verb.ts';

/** Seconds of a preshared-key epoch. */
const EPOCH_SECONDS = { least: 120, most: 86_400, usual: 3_600 };

const inviteLine: Argument<string, Invite> = {
  take: (name, value) => parseInvite(line.take(name, value)),
};

const role = oneOf('server', 'relay', 'device');

const newcomer = aidOr(
  (value) =>
    new MembershipError('MESH_NOT_A_MEMBER', `${value.slice(0, 64)} is not an AID`, {
      hint: 'Give the whole AID that `kelmesh id show` prints on the other side',
    }),
);

const { needsAgent, needsState } = verbsOf({
  organisation: ['governing', 'membership', 'identity'],
  agent: ['network', 'sync'],
});

export const meshVerbs = {
  'mesh.create': needsState({
    args: { name: text, epochSeconds: optional(whole(EPOCH_SECONDS.least, EPOCH_SECONDS.most)) },
    async run({ organisation, name: memberName }, { name, epochSeconds = EPOCH_SECONDS.usual }) {
      await organisation.governing.create({ name, memberName, epochSeconds });
      return meshResult(organisation);
    },
  }),
  'mesh.invite': needsAgent({
    args: { first: optional(flag) },
    async run({ organisation, agent }, { first }) {
      const { membership, governing, identity } = organisation;
      return {
        schema: 'kelmesh.invite/1',
        line: governing.invite(
          reachableAddresses(agent.network.addresses(), membership.mesh),
          first,
        ),
        governs: membership.governor === identity.aid,
      };
    },
  }),
  'mesh.join': needsState({
    args: { line: inviteLine },
    async run({ organisation }, { line: invite }) {
      await organisation.governing.join(invite);
      return { ...meshResult(organisation), aid: organisation.identity.aid };
    },
  }),
  'mesh.admit': needsState({
    args: {
      aid: newcomer,
      name: optional(text),
      role: optional(role),
      region: optional(text),
      /** Also one that was removed before. */
      again: flag,
      /** Also one that has not asked to join. */
      yes: flag,
    },
    atRest({ aid, yes }) {
      if (!yes)
        throw new MembershipError(
          'MESH_NEVER_ASKED',
          `the agent does not run, so nobody knows whether ${aid} asks to join`,
        );
    },
    async run({ organisation, agent }, { aid, name, role: given, region, again, yes }) {
      const knock = agent?.sync.knocks.get(aid);
      if (knock === undefined && !yes)
        throw new MembershipError('MESH_NEVER_ASKED', `${aid} has not asked to join`);
      await organisation.governing.admit(aid, name ?? knock?.name ?? nameFrom(aid), {
        role: given ?? 'server',
        region: region ?? '',
        again,
      });
      return { ...meshResult(organisation), knocked: knock !== undefined };
    },
  }),
  'mesh.rename': needsState({
    args: { who: text, name: text },
    async run({ organisation }, { who, name }) {
      await organisation.governing.rename(who, name);
      return meshResult(organisation);
    },
  }),
  'mesh.assign': needsState({
    args: { who: text, role: optional(role), region: optional(text), noRegion: flag },
    async run({ organisation }, { who, role: given, region, noRegion }) {
      await organisation.governing.assign(who, {
        ...(given === undefined ? {} : { role: given }),
        ...(noRegion ? { region: '' } : region === undefined ? {} : { region }),
      });
      return meshResult(organisation);
    },
  }),
  'mesh.hand-over': needsState({
    /** Nobody: who was named governs not. */
    args: { who: optional(text) },
    async run({ organisation }, { who }) {
      await organisation.governing.handOver(who);
      return meshResult(organisation);
    },
  }),
  'mesh.accept': needsState({
    args: {},
    async run({ organisation }) {
      await organisation.governing.acceptGoverning();
      return meshResult(organisation);
    },
  }),
  'mesh.leave': needsState({
    args: { yes: flag },
    async run({ organisation }, { yes }) {
      await organisation.governing.leave(yes);
      return meshResult(organisation);
    },
  }),
  'mesh.remove': needsState({
    args: { who: text, reason: optional(text) },
    async run({ organisation }, { who, reason }) {
      await organisation.governing.remove(who, reason ?? '');
      return meshResult(organisation);
    },
  }),
  'mesh.show': needsState({
    args: {},
    reads: true,
    run: async ({ organisation, agent }) => ({
      ...meshResult(organisation),
      knocks: agent === undefined ? [] : knocksJson(agent),
    }),
  }),
};

function meshResult(organisation: Pick<Organisation, 'membership' | 'identity'>) {
  return { schema: 'kelmesh.mesh/1', mesh: meshJson(organisation) };
}

function nameFrom(aid: string): string {
  return `member-${aid
    .slice(1, 9)
    .toLowerCase()
    .replaceAll(/[^a-z0-9]/g, 'x')}`;
}
