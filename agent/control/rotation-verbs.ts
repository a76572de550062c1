/** Rotations and revocations, as the control socket and the commands on a stopped organisation ask for them. */
import { type RevocationRow, revocationRows } from '../mesh/revocation/acknowledgements.ts';
import { RevocationError } from '../mesh/revocation/errors.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';
import { namedMembers } from '../tunnel/rotation/named-members.ts';
import type {
  PlannedPair,
  RotationKind,
  RotationPlan,
} from '../tunnel/rotation/rotation-report.ts';
import { type Argument, flag, oneOf, optional, text } from './arguments.ts';
import { checkReason, revokeEpoch, revokeNode, revokeOrganisation } from './revoke.ts';
import { identityJson } from './status.ts';
import { notRunning, type Parts, type RunningContext, type VerbContext, verbsOf } from './verb.ts';

/** A member by name or AID; one that is not in the charter is refused before anything is touched. */
const peer = optional(text);

/** Whose keys, in place of the own ones: a member, or this word for every member and this organisation. */
const EVERYBODY = 'all';

/** 1 to 280 characters: what can be told at the door is, before a secret is asked for. */
const reason: Argument<string> = {
  take: (name, value) => checkReason(optional(text).take(name, value) ?? ''),
};

const revocationArgs = { who: text, reason };

const rotationParts = {
  organisation: [
    'identity',
    'membership',
    'drivers',
    'kel',
    'records',
    'revocations',
    'issuer',
    'governing',
  ],
  agent: [
    'rotations',
    'schedule',
    'emergency',
    'rotate',
    'rotateTunnelKeys',
    'renewTunnelKeys',
    'ownKeys',
    'sync',
  ],
} as const satisfies Parts<keyof Organisation, keyof RunningParts>;

type RotationOrganisation = (typeof rotationParts.organisation)[number];
type RotationAgent = (typeof rotationParts.agent)[number];
type Running = RunningContext<RotationOrganisation, RotationAgent>;

const { needsAgent, needsState } = verbsOf(rotationParts);

export const rotationVerbs = {
  'rotate.plan': needsState({
    args: { kind: oneOf('psk', 'tunnel', 'id', 'all'), peer, of: optional(text) },
    reads: true,
    /** What a log rotation does can be told at rest; everything else is of tunnels. */
    atRest({ kind, of }) {
      if ((kind !== 'id' && kind !== 'all') || of !== undefined) throw notRunning();
    },
    async run(context, { kind, peer: named, of }) {
      const { agent, organisation } = context;
      const { standing } = organisation.membership;
      namedMembers(standing, named);
      const plan = agent === undefined ? atRest(kind) : agent.rotations.plan(kind, named);
      const asked = of === undefined ? undefined : namedMembers(standing, memberOf(of));
      return {
        schema: 'kelmesh.rotate-plan/1',
        ...plan,
        ...(asked === undefined
          ? {}
          : {
              steps: asking(asked.length),
              pairs: plan.pairs.filter(({ aid }) => asked.some((member) => member.aid === aid)),
            }),
        kind,
      };
    },
  }),
  'rotate.status': needsAgent({
    args: {},
    reads: true,
    run: async ({ agent }) => ({
      schema: 'kelmesh.rotate-status/1',
      rotations: await agent.rotations.status(),
      next: agent.schedule.next(),
    }),
  }),
  'rotate.psk': needsAgent({
    /** `prove`: force a handshake with the new key, and wait for it. */
    args: { peer, prove: flag },
    async run({ agent: { rotations }, progress }, { peer: named, prove }) {
      rotations.members(named);
      progress('agreeing afresh');
      const pairs = await rotations.psk(named, prove);
      return { schema: 'kelmesh.rotate/1', kind: 'psk' as const, pairs };
    },
  }),
  'rotate.tunnel': needsAgent({
    args: { peer },
    async run({ agent, progress }, { peer: named }) {
      agent.rotations.members(named);
      progress('sealing the next tunnel keys');
      const record = await agent.rotateTunnelKeys();
      return {
        schema: 'kelmesh.rotate/1',
        kind: 'tunnel' as const,
        epoch: record.e,
        record: record.d,
        pairs: pairsOf(agent, 'tunnel'),
      };
    },
  }),
  'rotate.id': needsAgent({
    args: { peer },
    run: (context, args) => rotateIdentity(context, args.peer, 'id'),
  }),
  'rotate.all': needsAgent({
    args: { peer, of: optional(text) },
    run: async (context, { peer: named, of }) =>
      of === undefined
        ? await rotateIdentity(context, named, 'all')
        : await rotateOthers(context, named, of),
  }),
  /** The CA shares nothing with the agent, its passphrase least of all: here it is only known who is in the mesh. */
  'rotate.ca': needsState({
    args: { peer: text },
    async run({ organisation }, { peer: named }) {
      const members = namedMembers(organisation.membership.standing, named);
      const pairs = members.map(({ aid, name }) => ({ pair: name, aid }));
      return { schema: 'kelmesh.rotate/1', kind: 'ca' as const, pairs };
    },
  }),
  'revoke.node': needsState({
    args: revocationArgs,
    run: async (context, { who, reason }) =>
      revoked(context, await revokeNode(context.organisation, who, reason)),
  }),
  'revoke.epoch': needsAgent({
    args: revocationArgs,
    run: async (context, { who, reason }) =>
      revoked(context, await revokeEpoch(context.organisation, context.agent, who, reason)),
  }),
  'revoke.organisation': needsState({
    args: revocationArgs,
    run: async (context, { who, reason }) =>
      revoked(context, await revokeOrganisation(context.organisation, who, reason)),
  }),
  'revoke.status': needsState({
    args: {},
    reads: true,
    run: async (context) => ({
      schema: 'kelmesh.revoke-status/1',
      revocations: rows(context),
    }),
  }),
};

type PlannedAtRest = Omit<PlannedPair, 'leftBehind'> & { readonly leftBehind?: boolean };
type Plan = Omit<RotationPlan, 'pairs'> & { readonly pairs: readonly PlannedAtRest[] };

function atRest(kind: RotationKind): Plan {
  return {
    kind,
    obstacle: null,
    steps: [
      { step: 'prepare', does: 'the log rotates to its pre-rotated keys' },
      { step: 'activate', does: 'the tunnels follow when the agent is started' },
    ],
    pairs: [],
  };
}

function asking(count: number): RotationPlan['steps'] {
  return [
    {
      step: 'prepare',
      does: `${count === 1 ? 'the member is' : `${count} members are`} asked to rotate to the own pre-rotated keys`,
    },
    { step: 'activate', does: 'the tunnels to whoever did follow, one by one' },
  ];
}

/** @returns undefined for everybody */
function memberOf(of: string): string | undefined {
  return of === EVERYBODY ? undefined : of;
}

async function rotateIdentity(
  { organisation, agent, progress }: Running,
  named: string | undefined,
  kind: 'id' | 'all',
) {
  agent.rotations.members(named);
  progress('anchoring the audit log, rotating the keys, sealing new tunnel keys');
  await agent.rotate();
  return {
    schema: 'kelmesh.rotate/1',
    ...identityJson(organisation),
    kind,
    pairs: pairsOf(agent, kind),
  };
}

/** Those whom `of` names go to their own pre-rotated keys; `all` is every other member, and then this organisation. */
async function rotateOthers(
  { organisation, agent, progress }: Running,
  named: string | undefined,
  of: string,
) {
  const { rotations, emergency } = agent;
  rotations.members(named);
  const members = rotations.members(memberOf(of));
  progress(`asking ${members.length === 1 ? members[0]?.name : `${members.length} members`}`);
  const asked = await emergency.ask(members);
  if (of === EVERYBODY) {
    progress('rotating the own keys');
    await agent.rotate();
  }
  return {
    schema: 'kelmesh.rotate/1',
    ...(of === EVERYBODY ? identityJson(organisation) : {}),
    kind: 'all' as const,
    members: asked,
    pairs: pairsOf(agent, 'all'),
  };
}

function pairsOf({ rotations }: Pick<RunningParts, 'rotations'>, kind: RotationKind) {
  return rotations.plan(kind, undefined).pairs;
}

function rows({
  organisation,
  agent,
}: VerbContext<RotationOrganisation, RotationAgent>): readonly RevocationRow[] {
  return revocationRows(organisation, (aid) => agent?.sync.heardAt(aid));
}

function revoked(context: VerbContext<RotationOrganisation, RotationAgent>, said: string) {
  const row = rows(context).find((candidate) => candidate.said === said);
  if (row === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `revocation ${said} is not in force`);
  return { schema: 'kelmesh.revoke/1', ...row };
}
