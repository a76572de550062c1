/**
 * The policy of a mesh: its rules, the topology from which it follows who may have a tunnel at all, and the least level. What
 * holds for a pair is what a rule says, within what the topology leaves open, and never less than the least level. Pure.
 *
 * Both ends compute it from the charter alone, so they come to the same terms.
 */
import type { Contribution, EdgeRule } from '#kel/record/edge-rule';
import type { Topology } from '#kel/record/extension';
import type { ChrRecord, ProtectionLevel } from '#kel/record/record';
import { inOrder } from './contribution.ts';
import {
  contradictionsOf,
  type EdgeEnd,
  type EdgeTerms,
  type PolicyWorld,
  policyOf,
} from './edge-policy.ts';

export interface MeshPolicy {
  /**
   * `full`: every pair may have a tunnel. `hub:NAME`: those with that member. `regions`: those within a region, and those between
   * members whose role is relay, the gateways of their regions.
   */
  readonly topology: Topology;
  /** In their order. */
  readonly rules: readonly EdgeRule[];
  /** Least protection that an edge must have. */
  readonly minimumLevel: ProtectionLevel;
  /** Names of the brokers that rules may speak of. */
  readonly brokers: readonly string[];
}

/** What a charter without a word about it has. */
export const OPEN_MESH: MeshPolicy = {
  topology: 'full',
  rules: [],
  minimumLevel: 'A',
  brokers: [],
};

/** As a charter says it. */
export function policyIn({ x, edge }: Pick<ChrRecord, 'x' | 'edge'>): MeshPolicy {
  return {
    topology: x?.top ?? OPEN_MESH.topology,
    rules: x?.pol ?? OPEN_MESH.rules,
    minimumLevel: edge.min,
    brokers: x?.brk?.map(({ n }) => n) ?? OPEN_MESH.brokers,
  };
}

/** What holds for one pair, and what closes it where nothing is open. */
export interface PairPolicyTerms extends EdgeTerms {
  readonly closedBy: 'rule' | 'topology' | null;
}

/** @param policy that of the charter in force */
export function termsOf(policy: MeshPolicy, ends: readonly [EdgeEnd, EdgeEnd]): PairPolicyTerms {
  const terms = policyOf(policy.rules, ends);
  if (!terms.peer) return { ...terms, closedBy: 'rule' };
  if (!isOpenIn(policy.topology, ends)) return { ...terms, peer: false, closedBy: 'topology' };
  const least = strategiesOf(policy.minimumLevel);
  return {
    ...terms,
    required: inOrder([...terms.required, ...least]),
    offered: inOrder([...terms.offered, ...least]),
    closedBy: null,
  };
}

/** Strategy C is the services' own, and asks for nothing here. */
function strategiesOf(level: ProtectionLevel): readonly Contribution[] {
  return level.includes('B') ? ['rosenpass'] : [];
}

function isOpenIn(topology: Topology, [a, b]: readonly [EdgeEnd, EdgeEnd]): boolean {
  if (topology === 'full') return true;
  if (topology === 'regions')
    return a.region === b.region || (a.role === 'relay' && b.role === 'relay');
  const hub = hubOf(topology);
  return a.name === hub || b.name === hub;
}

/** Name of the member with which all others have their only tunnel. */
function hubOf(topology: Topology): string | undefined {
  return topology.startsWith('hub:') ? topology.slice('hub:'.length) : undefined;
}

/**
 * Everything in a policy that cannot be meant; none: it may be signed.
 * @param world undefined: what it speaks of is not known, and not compared
 */
export function policyFaultsOf(
  policy: Pick<MeshPolicy, 'topology' | 'rules' | 'minimumLevel'>,
  world: PolicyWorld | undefined,
): readonly PolicyContradiction[] {
  const { rules, topology, minimumLevel } = policy;
  const hub = hubOf(topology);
  const ofTopology =
    hub === undefined || world === undefined || world.members.some(({ name }) => name === hub)
      ? []
      : [{ rule: null, key: 'topology', why: `no member is called ${hub}` }];
  const ofLevel = rules.flatMap(({ peer, refused }, rule) =>
    strategiesOf(minimumLevel)
      .filter((one) => peer && refused.includes(one))
      .map((one) => ({
        rule,
        key: 'refused',
        why: `${one} is refused, and the least level of the mesh is ${minimumLevel}`,
      })),
  );
  return [...ofTopology, ...contradictionsOf(rules, world), ...ofLevel];
}

/** As {@link Contradiction}, of the topology too. */
export interface PolicyContradiction {
  /** Place of the rule, from 0; null: the topology. */
  readonly rule: number | null;
  /** The key that has to change. */
  readonly key: string;
  readonly why: string;
}
