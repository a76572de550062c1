/** Moving the mesh to records of version 2: who is ready, and the charter that does it. */
import type { Aid } from '#kel/identifiers';
import { MembershipError } from '../mesh/membership/errors.ts';
import type { Organisation } from '../organisation/organisation.ts';
import type { RunningParts } from '../organisation/running/agent.ts';
import { listOf, optional, text } from './arguments.ts';
import { verbsOf } from './verb.ts';

/** As many names as a charter has members. */
const MAX_NAMES = 4_096;

const parts = {
  organisation: ['governing', 'membership', 'identity', 'records'],
  agent: ['network', 'directory'],
} as const;

type UpgradeOrganisation = Pick<Organisation, (typeof parts.organisation)[number]>;
type UpgradeAgent = Pick<RunningParts, (typeof parts.agent)[number]>;

/** `ready`: reads records of version 2. `old`: its agent has to be updated. `unknown`: it is not connected, so nobody can tell. */
type Readiness = 'ready' | 'old' | 'unknown';

const { needsAgent } = verbsOf(parts);

export const upgradeVerbs = {
  'mesh.readiness': needsAgent({
    args: {},
    reads: true,
    run: async ({ organisation, agent }) => ({
      ...(await readinessJson(organisation, agent)),
      upgraded: false,
    }),
  }),
  'mesh.upgrade': needsAgent({
    args: { without: optional(listOf(text, MAX_NAMES)) },
    async run({ organisation, agent }, { without = [] }) {
      const { governing, membership } = organisation;
      const left = new Set(without.map((who) => governing.find(who).aid));
      const before = await readinessJson(organisation, agent);
      const behind = before.members.filter(({ state }) => state !== 'ready');
      const holding = behind.filter(({ aid }) => !left.has(aid));
      if (before.recordVersion === 1 && before.isGovernor && holding.length > 0)
        throw new MembershipError(
          'MESH_NOT_READY',
          `not ready: ${holding.map(({ name, state }) => `${name} (${WORDS[state]})`).join(', ')}`,
        );
      await governing.upgrade();
      return { ...before, recordVersion: membership.recordVersion, upgraded: true };
    },
  }),
};

const WORDS: Readonly<Record<Readiness, string>> = {
  ready: 'reads records of version 2',
  old: 'its agent has to be updated',
  unknown: 'not connected, so nobody can tell',
};

async function readinessJson(organisation: UpgradeOrganisation, agent: UpgradeAgent) {
  const { membership, identity } = organisation;
  const { charter } = membership;
  const others = [...(charter?.members.values() ?? [])].filter(({ aid }) => aid !== identity.aid);
  const members = await Promise.all(
    others.map(async ({ aid, name }) => {
      const state = await readinessOf(aid, organisation, agent);
      return { aid, name, state, reason: WORDS[state] };
    }),
  );
  return {
    schema: 'kelmesh.mesh-upgrade/1',
    mesh: membership.mesh ?? null,
    isGovernor: charter?.governors[0] === identity.aid,
    recordVersion: membership.recordVersion,
    ready: members.every(({ state }) => state === 'ready'),
    members,
  };
}

/** By what its agent has said that it speaks, or by what its `nod` record says. Neither moves anything but this word. */
async function readinessOf(
  aid: Aid,
  { records }: UpgradeOrganisation,
  { network, directory }: UpgradeAgent,
): Promise<Readiness> {
  const peer = directory.peerOf(aid);
  const version = peer === undefined ? undefined : await network.versionOf(peer);
  if (version !== undefined) return version === 2 ? 'ready' : 'old';
  const isNew = records.latest('nod', aid)?.record.x?.cap?.includes('rec2') === true;
  return isNew ? 'ready' : 'unknown';
}
