/** The policy of the mesh: what it is, and what holds for a pair. */
import type { Charter } from '../mesh/membership/charter.ts';
import { MembershipError } from '../mesh/membership/errors.ts';
import { DEFAULT_RULES } from '../mesh/membership/policy/edge-policy.ts';
import { termsOf } from '../mesh/membership/policy/mesh-policy.ts';
import type { Organisation } from '../organisation/organisation.ts';
import { optional, text } from './arguments.ts';
import { verbsOf } from './verb.ts';

const { needsState } = verbsOf({ organisation: ['membership', 'governing'] });

export const policyVerbs = {
  'mesh.policy.show': needsState({
    args: {
      /** Both by AID or name; neither: no pair. */
      one: optional(text),
      other: optional(text),
    },
    reads: true,
    async run({ organisation }, { one, other }) {
      const charter = charterOf(organisation);
      const pair =
        one === undefined || other === undefined
          ? null
          : pairJson(charter, organisation, one, other);
      return { ...policyJson(charter, organisation), pair };
    },
  }),
};

function charterOf({ membership }: Pick<Organisation, 'membership'>): Charter {
  const { charter } = membership;
  if (charter === undefined)
    throw new MembershipError('MESH_NONE', 'there is no charter yet, so there is no policy');
  return charter;
}

function policyJson(charter: Charter, { membership }: Pick<Organisation, 'membership'>) {
  const { topology, rules, minimumLevel, brokers } = charter.policy;
  return {
    schema: 'kelmesh.policy/1' as const,
    mesh: charter.mesh,
    charter: charter.said,
    version: charter.version,
    isGovernor: charter.governors[0] === membership.standing.self,
    topology,
    rules,
    /** For pairs that no rule matches. */
    defaults: DEFAULT_RULES,
    minimumLevel,
    brokers,
    members: [...charter.members.values()].map(({ aid, name, role, region }) => ({
      aid,
      name,
      role,
      region,
    })),
  };
}

function pairJson(
  charter: Charter,
  { governing }: Pick<Organisation, 'governing'>,
  one: string,
  other: string,
) {
  const [a, b] = [governing.find(one), governing.find(other)];
  if (a.aid === b.aid)
    throw new MembershipError('MESH_NOT_A_MEMBER', `a pair has two members, got ${a.name} twice`);
  return { a: a.name, b: b.name, ...termsOf(charter.policy, [a, b]) };
}
