/** Rotations and revocations, as the control socket and the commands on a stopped organisation ask for them. */
import { revocationRows } from '../mesh/revocation/acknowledgements.ts';
import { RevocationError } from '../mesh/revocation/errors.ts';
import { namedMembers } from '../tunnel/rotation/named-members.ts';
import type { RotationKind } from '../tunnel/rotation/rotation-report.ts';
import { ControlError } from './errors.ts';
import type { Json } from './protocol.ts';
import { revokeEpoch, revokeNode, revokeOrganisation } from './revoke.ts';
import { identityJson } from './status.ts';
import { optionalText, running, text, type Verb, type VerbContext } from './verb.ts';

const KINDS: readonly RotationKind[] = ['psk', 'tunnel', 'id', 'all'];

export const rotationVerbs: Readonly<Record<string, Verb>> = {
  'rotate.plan': async ({ agent, args }) => {
    const kind = text(args, 'kind') as RotationKind;
    if (!KINDS.includes(kind))
      throw new ControlError('CONTROL_BAD_REQUEST', `${kind.slice(0, 64)} is no kind of rotation`);
    if (agent === undefined && kind !== 'id' && kind !== 'all') running(agent);
    const plan = agent?.rotations.plan(kind, optionalText(args['peer']));
    return { schema: 'kelmesh.rotate-plan/1', ...(plan ?? AT_REST), kind } as unknown as Json;
  },
  'rotate.status': async ({ agent }) => ({
    schema: 'kelmesh.rotate-status/1',
    rotations: (await running(agent).rotations.status()) as unknown as Json,
    next: running(agent).schedule.next() as unknown as Json,
  }),
  'rotate.psk': async ({ agent, args, progress }) => {
    const { rotations } = running(agent);
    const peer = optionalText(args['peer']);
    rotations.members(peer);
    progress('agreeing afresh');
    const pairs = await rotations.psk(peer, args['prove'] === true);
    return { schema: 'kelmesh.rotate/1', kind: 'psk', pairs: pairs as unknown as Json };
  },
  'rotate.tunnel': async (context) => {
    const { agent, args, progress } = context;
    running(agent).rotations.members(optionalText(args['peer']));
    progress('sealing the next tunnel keys');
    const record = await running(agent).rotateTunnelKeys();
    return {
      schema: 'kelmesh.rotate/1',
      kind: 'tunnel',
      epoch: record.e,
      record: record.d,
      ...(await pairsOf(context, 'tunnel')),
    };
  },
  'rotate.id': async (context) => rotateIdentity(context, 'id'),
  'rotate.all': async (context) =>
    context.args['of'] === undefined ? rotateIdentity(context, 'all') : rotateOthers(context),
  /** The CA shares nothing with the agent, its passphrase least of all: here it is only known who is in the mesh. */
  'rotate.ca': async ({ organisation, args }) => {
    const members = namedMembers(organisation.membership.standing, text(args, 'peer'));
    const pairs = members.map(({ aid, name }) => ({ pair: name, aid }));
    return { schema: 'kelmesh.rotate/1', kind: 'ca', pairs };
  },
  'revoke.node': async (context) =>
    revoked(
      context,
      await revokeNode(context.organisation, text(context.args, 'who'), reason(context)),
    ),
  'revoke.epoch': async (context) =>
    revoked(
      context,
      await revokeEpoch(running(context.agent), text(context.args, 'who'), reason(context)),
    ),
  'revoke.organisation': async (context) =>
    revoked(
      context,
      await revokeOrganisation(context.organisation, text(context.args, 'who'), reason(context)),
    ),
  'revoke.status': async (context) => ({
    schema: 'kelmesh.revoke-status/1',
    revocations: rows(context) as unknown as Json,
  }),
};

const AT_REST = {
  obstacle: null,
  steps: [
    { step: 'prepare', does: 'the log rotates to its pre-rotated keys' },
    { step: 'activate', does: 'the tunnels follow when the agent is started' },
  ],
  pairs: [],
};

async function rotateIdentity(context: VerbContext, kind: 'id' | 'all'): Promise<Json> {
  const { organisation, agent, args, progress } = context;
  const { rotations } = running(agent);
  rotations.members(optionalText(args['peer']));
  progress('anchoring the audit log, rotating the keys, sealing new tunnel keys');
  await running(agent).rotate();
  return {
    schema: 'kelmesh.rotate/1',
    kind,
    ...identityJson(organisation),
    ...(await pairsOf(context, kind)),
  };
}

/** Those whom `of` names go to their own pre-rotated keys; `all` is every other member, and then this organisation. */
async function rotateOthers(context: VerbContext): Promise<Json> {
  const { agent, args, progress } = context;
  const { rotations, emergency } = running(agent);
  const of = text(args, 'of');
  const members = rotations.members(of === 'all' ? undefined : of);
  progress(`asking ${members.length === 1 ? members[0]?.name : `${members.length} members`}`);
  const asked = await emergency.ask(members);
  if (of === 'all') {
    progress('rotating the own keys');
    await running(agent).rotate();
  }
  return {
    schema: 'kelmesh.rotate/1',
    kind: 'all',
    ...(of === 'all' ? identityJson(context.organisation) : {}),
    members: asked as unknown as Json,
    ...(await pairsOf(context, 'all')),
  };
}

async function pairsOf({ agent }: VerbContext, kind: RotationKind): Promise<{ pairs: Json }> {
  const { pairs } = running(agent).rotations.plan(kind, undefined);
  return { pairs: pairs as unknown as Json };
}

function reason({ args }: VerbContext): string {
  return optionalText(args['reason']) ?? '';
}

function rows({ organisation, agent }: VerbContext) {
  return revocationRows(organisation, (aid) => agent?.sync.heardAt(aid));
}

function revoked(context: VerbContext, said: string): Json {
  const row = rows(context).find((candidate) => candidate.said === said);
  if (row === undefined)
    throw new RevocationError('REVOKE_UNKNOWN', `revocation ${said} is not in force`);
  return { schema: 'kelmesh.revoke/1', ...(row as unknown as { readonly [key: string]: Json }) };
}
