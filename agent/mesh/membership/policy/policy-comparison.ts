/** What another policy would mean: rule by rule, and for which pairs something else would hold. Pure. */
import type { Contribution, EdgeRule } from '#kel/record/edge-rule';
import type { Topology } from '#kel/record/extension';
import { levelOf } from './contribution.ts';
import type { EdgeEnd } from './edge-policy.ts';
import { type MeshPolicy, termsOf } from './mesh-policy.ts';
import { formatRule } from './policy-file.ts';

export interface PolicyComparison {
  /** Null where it stays. */
  readonly topology: { readonly before: Topology; readonly after: Topology } | null;
  /** Those that come and go, in the order of the file; a rule that only moves goes and comes. */
  readonly rules: readonly RuleRow[];
  readonly pairs: readonly PairRow[];
}

export interface RuleRow {
  readonly kind: 'added' | 'removed';
  /** Its place, from 0: of one that is removed in the policy in force. */
  readonly rule: number;
  /** As it stands in a file. */
  readonly text: string;
}

/** Pairs for which the same held before, and the same would hold afterwards. */
export interface PairRow {
  /** Names of members; at most {@link MAX_NAMES}. */
  readonly some: readonly string[];
  /** One of `some` with one of these. */
  readonly others: readonly string[];
  /** How many pairs it are. */
  readonly pairs: number;
  readonly before: PairSummary;
  readonly after: PairSummary;
}

export interface PairSummary {
  readonly peer: boolean;
  readonly required: readonly Contribution[];
  /** What it has at least, and where both ends can; null: it has no tunnel. */
  readonly level: { readonly least: 'A' | 'AB'; readonly most: 'A' | 'AB' } | null;
}

/** Of one row; the number of pairs counts them all. */
const MAX_NAMES = 16;

/** @param members of the charter in force */
export function comparePolicies(
  before: MeshPolicy,
  after: MeshPolicy,
  members: readonly EdgeEnd[],
): PolicyComparison {
  return {
    topology:
      before.topology === after.topology
        ? null
        : { before: before.topology, after: after.topology },
    rules: ruleRows(before.rules, after.rules),
    pairs: pairRows(before, after, members),
  };
}

/** By the longest list of rules that stay in their order. */
function ruleRows(before: readonly EdgeRule[], after: readonly EdgeRule[]): readonly RuleRow[] {
  const [a, b] = [before.map(formatRule), after.map(formatRule)];
  const common = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      (common[i] as Uint16Array)[j] =
        a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  const rows: RuleRow[] = [];
  for (let i = 0, j = 0; i < a.length || j < b.length; ) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      i += 1;
      j += 1;
    } else if (j >= b.length || (i < a.length && at(i + 1, j) >= at(i, j + 1)))
      rows.push({ kind: 'removed', rule: i, text: a[i++] ?? '' });
    else rows.push({ kind: 'added', rule: j, text: b[j++] ?? '' });
  }
  return rows;
}

/** Members that no rule can tell apart are looked at once: a mesh of thousands has few kinds. */
function pairRows(
  before: MeshPolicy,
  after: MeshPolicy,
  members: readonly EdgeEnd[],
): readonly PairRow[] {
  const kinds = kindsOf(members, namesIn(before, after));
  return kinds.flatMap((one, i) =>
    kinds.slice(i).flatMap((other): readonly PairRow[] => {
      const isSame = one === other;
      const pairs = isSame ? (one.length * (one.length - 1)) / 2 : one.length * other.length;
      const ends = [one[0], isSame ? one[1] : other[0]] as [EdgeEnd, EdgeEnd];
      if (pairs === 0) return [];
      const rows = { before: summary(before, ends), after: summary(after, ends) };
      if (JSON.stringify(rows.before) === JSON.stringify(rows.after)) return [];
      const names = (some: readonly EdgeEnd[]) => some.slice(0, MAX_NAMES).map(({ name }) => name);
      return [{ some: names(one), others: names(other), pairs, ...rows }];
    }),
  );
}

function kindsOf(
  members: readonly EdgeEnd[],
  named: ReadonlySet<string>,
): readonly (readonly EdgeEnd[])[] {
  const kinds = new Map<string, EdgeEnd[]>();
  for (const member of members) {
    const { name, role, region } = member;
    const key = JSON.stringify([role, region, named.has(name) ? name : '']);
    const kind = kinds.get(key);
    if (kind === undefined) kinds.set(key, [member]);
    else kind.push(member);
  }
  return [...kinds.values()];
}

/** Members of which a rule or a topology speaks by name. */
function namesIn(...policies: readonly MeshPolicy[]): ReadonlySet<string> {
  const words = policies.flatMap(({ topology, rules }) => [
    topology,
    ...rules.flatMap(({ between }) => between),
  ]);
  return new Set(
    words.flatMap((word) => (/^(hub|name):/.test(word) ? [word.slice(word.indexOf(':') + 1)] : [])),
  );
}

function summary(policy: MeshPolicy, ends: readonly [EdgeEnd, EdgeEnd]): PairSummary {
  const { peer, required, offered } = termsOf(policy, ends);
  if (!peer) return { peer, required: [], level: null };
  return { peer, required, level: { least: levelOf(required), most: levelOf(offered) } };
}
