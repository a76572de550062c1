/**
 * Edge policy: for each pair of members what protects the tunnel between them, and whether there is one (DESIGN 8).
 *
 * Pure. The first rule of the charter that matches a pair decides all of it; where none does, the defaults do. So a
 * rule can be read by itself, and its place says what it yields to.
 */
import type { Contribution, EdgeRule, Selector } from '#kel/record/edge-rule';
import type { NodeRole } from '#kel/record/node-role';
import { INDISPENSABLE, inOrder } from './contribution.ts';

/** One end, as the charter describes it. */
export interface EdgeEnd {
  readonly name: string;
  readonly role: NodeRole;
  readonly region: string;
}

/** What holds for one pair. */
export interface EdgeTerms extends Omit<EdgeRule, 'between' | 'offered'> {
  /** Place of the rule that decided, from 0; null: the defaults. */
  readonly rule: number | null;
  /** Those that are required among them, in order. */
  readonly offered: readonly Contribution[];
}

const open: Omit<EdgeRule, 'between' | 'offered'> = {
  peer: true,
  required: INDISPENSABLE,
  refused: [],
  start: 'eager',
  prefixes: [],
  obfuscation: [],
  relay: 'offered',
};

/** Servers and relays have B as soon as both ends can, devices A alone. C is the services' own. */
export const DEFAULT_RULES: readonly EdgeRule[] = [
  { ...open, between: ['role:device', '*'], offered: INDISPENSABLE },
  { ...open, between: ['*', '*'], offered: [...INDISPENSABLE, 'rosenpass'] },
];

/** @param rules of the charter in force, in its order */
export function policyOf(rules: readonly EdgeRule[], ends: readonly [EdgeEnd, EdgeEnd]): EdgeTerms {
  const at = rules.findIndex((rule) => matches(rule.between, ends));
  const rule = rules[at] ?? DEFAULT_RULES.find(({ between }) => matches(between, ends));
  if (rule === undefined) throw new TypeError('the defaults match every pair');
  const { between: _, ...terms } = rule;
  const refused = new Set(rule.refused);
  return {
    ...terms,
    rule: at < 0 ? null : at,
    required: inOrder(rule.required),
    offered: inOrder([...rule.required, ...rule.offered].filter((one) => !refused.has(one))),
    refused: inOrder(rule.refused),
  };
}

/** What `sources` lack of what the terms require; the edge stays down while this is not empty. */
export function lackingOf(
  terms: EdgeTerms,
  sources: readonly Contribution[],
): readonly Contribution[] {
  return terms.required.filter((one) => !sources.includes(one));
}

function matches([one, other]: EdgeRule['between'], [a, b]: readonly [EdgeEnd, EdgeEnd]): boolean {
  return (selects(one, a) && selects(other, b)) || (selects(one, b) && selects(other, a));
}

function selects(selector: Selector, end: EdgeEnd): boolean {
  if (selector === '*') return true;
  const at = selector.indexOf(':');
  const [kind, value] = [selector.slice(0, at), selector.slice(at + 1)];
  return kind === 'role'
    ? end.role === value
    : kind === 'region'
      ? end.region === value
      : end.name === value;
}

/** Why a list of rules must not be signed. */
export interface Contradiction {
  /** Place of the rule, from 0. */
  readonly rule: number;
  /** The key that has to change. */
  readonly key: keyof EdgeRule;
  readonly why: string;
}

/** What the rules speak of. */
export interface PolicyWorld {
  readonly members: readonly EdgeEnd[];
  /** Names of the charter's brokers. */
  readonly brokers: readonly string[];
}

/**
 * Everything in the rules that cannot be meant, in their order; none: they may be signed.
 * @param world undefined: what they speak of is not known, and not compared
 */
export function contradictionsOf(
  rules: readonly EdgeRule[],
  world: PolicyWorld | undefined,
): readonly Contradiction[] {
  return rules.flatMap((rule, at) =>
    [
      ...ofContributions(rule, world),
      ...ofSelectors(rule, world),
      ...ofClosed(rule),
      ...ofPlace(rules, at),
    ].map((found) => ({ rule: at, ...found })),
  );
}

type Found = Omit<Contradiction, 'rule'>;

function ofContributions(rule: EdgeRule, world: PolicyWorld | undefined): readonly Found[] {
  if (!rule.peer) return [];
  const found: Found[] = [];
  for (const one of rule.refused) {
    if (rule.required.includes(one))
      found.push({ key: 'refused', why: `${one} is required and refused` });
    else if (rule.offered.includes(one))
      found.push({ key: 'refused', why: `${one} is offered and refused` });
    if (INDISPENSABLE.includes(one))
      found.push({ key: 'refused', why: `${one} is in every agreement of this version` });
  }
  for (const one of INDISPENSABLE)
    if (!rule.required.includes(one) && !rule.refused.includes(one))
      found.push({
        key: 'required',
        why: `${one} is in every agreement of this version: require it`,
      });
  for (const key of ['required', 'offered'] as const)
    for (const one of rule[key]) {
      const broker = /^broker:(.*)$/.exec(one)?.[1];
      if (broker !== undefined && world?.brokers.includes(broker) === false)
        found.push({ key, why: `the charter has no broker ${broker}` });
    }
  return found;
}

function ofSelectors({ between }: EdgeRule, world: PolicyWorld | undefined): readonly Found[] {
  if (world === undefined) return [];
  const { members } = world;
  return [...new Set(between)]
    .filter((selector) => selector.startsWith('name:'))
    .filter((selector) => !members.some((member) => selects(selector, member)))
    .map((selector) => ({
      key: 'between',
      why: `no member is called ${selector.slice('name:'.length)}`,
    }));
}

/** A pair that has no tunnel has no terms either. */
function ofClosed(rule: EdgeRule): readonly Found[] {
  if (rule.peer) return [];
  const keys = ['required', 'offered', 'refused', 'prefixes', 'obfuscation'] as const;
  const given = keys.filter((key) => rule[key].length > 0);
  const needsRelay: readonly Found[] =
    rule.relay === 'required' ? [{ key: 'relay', why: 'such a pair has no tunnel to relay' }] : [];
  return [...given.map((key) => ({ key, why: 'such a pair has no tunnel' })), ...needsRelay];
}

/** A rule that an earlier one always answers for. */
function ofPlace(rules: readonly EdgeRule[], at: number): readonly Found[] {
  const { between } = rules[at] as EdgeRule;
  const earlier = rules.slice(0, at).findIndex((rule) => covers(rule.between, between));
  if (earlier < 0) return [];
  return [{ key: 'between', why: `rule ${earlier + 1} matches every such pair before` }];
}

function covers([a, b]: EdgeRule['between'], [c, d]: EdgeRule['between']): boolean {
  const wider = (wide: Selector, narrow: Selector) => wide === '*' || wide === narrow;
  return (wider(a, c) && wider(b, d)) || (wider(a, d) && wider(b, c));
}
