/**
 * The policy of a mesh as people write it: TOML, one `[[edge]]` a rule.
 *
 * ```toml
 * topology = "regions"
 *
 * [[edge]]
 * between = ["role:server", "region:eu"]
 * required = ["ml-kem-1024", "x25519", "rosenpass"]
 * offered = ["hqc-256"]
 * ```
 * What a rule leaves out is as in the defaults; `between` it may not leave out. Without a topology it is `full`.
 */
import { parse, TomlError } from 'smol-toml';
import {
  type Contribution,
  type EdgeRule,
  isContribution,
  isSelector,
  MAX_EDGE_RULES,
  MAX_RULE_ENTRIES,
  OBFUSCATION_MODES,
  type ObfuscationMode,
  RELAYING,
  type Relaying,
  type Selector,
} from '#kel/record/edge-rule';
import type { Topology } from '#kel/record/extension';
import { isTopology } from '#kel/record/extension-schemas';
import { utf8 } from '#src/bytes';
import { formatIpPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import { INDISPENSABLE } from './contribution.ts';
import type { MeshPolicy } from './mesh-policy.ts';

/** Of a policy file. */
export const MAX_POLICY_BYTES = 256 * 1024;

/** What is wrong in a policy file, and where. */
export interface PolicyFault {
  /** From 1. */
  readonly line: number;
  readonly why: string;
}

export type PolicyReading =
  | {
      readonly kind: 'rules';
      readonly topology: Topology;
      readonly rules: readonly EdgeRule[];
      readonly lineOf: LineOf;
    }
  | { readonly kind: 'faults'; readonly faults: readonly PolicyFault[] };

/** The line in which a rule, or one key of it, stands. @param rule null: before all rules */
export type LineOf = (rule: number | null, key?: string) => number;

/** @param text attacker-controlled: somebody may have sent the file */
export function readPolicy(text: string): PolicyReading {
  if (utf8(text).length > MAX_POLICY_BYTES)
    return fault(1, `the file is longer than ${MAX_POLICY_BYTES} bytes`);
  let document: Record<string, unknown>;
  try {
    document = parse(text);
  } catch (error) {
    if (!(error instanceof TomlError)) throw error;
    return fault(
      error.line,
      (error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, ''),
    );
  }
  const lines = text.split('\n');
  const other = Object.keys(document).find((key) => key !== 'edge' && key !== 'topology');
  if (other !== undefined)
    return fault(
      lineOfKey(lines, 0, lines.length, other) ?? 1,
      `expected topology or [[edge]], got ${other}`,
    );
  const tables = document['edge'] ?? [];
  if (!Array.isArray(tables)) return fault(1, 'edge: expected [[edge]], once for each rule');
  if (tables.length > MAX_EDGE_RULES)
    return fault(1, `expected at most ${MAX_EDGE_RULES} rules, got ${tables.length}`);
  const lineOf = lineFinder(lines);
  const faults: PolicyFault[] = [];
  const { topology = 'full' } = document;
  if (!isTopology(topology))
    faults.push({
      line: lineOf(null, 'topology'),
      why: `topology: expected full, regions, or hub: and the name of a member, got ${show(topology)}`,
    });
  const rules = tables.map((table, at) => {
    const rule = readRule(table as Record<string, unknown>);
    for (const { key, why } of rule.faults) faults.push({ line: lineOf(at, key), why });
    return rule.value;
  });
  if (faults.length > 0 || !isTopology(topology)) return { kind: 'faults', faults };
  return { kind: 'rules', topology, rules, lineOf };
}

/** The same policy as a file, which reads back as it is. */
export function formatPolicy({ topology, rules }: Pick<MeshPolicy, 'topology' | 'rules'>): string {
  return [`topology = ${JSON.stringify(topology)}\n`, ...rules.map(formatRule)].join('\n');
}

/** One rule, as it stands in a file. */
export function formatRule(rule: EdgeRule): string {
  const list = (items: readonly string[]) =>
    `[${items.map((item) => JSON.stringify(item)).join(', ')}]`;
  return [
    '[[edge]]',
    `between = ${list(rule.between)}`,
    ...(rule.peer
      ? [
          `required = ${list(rule.required)}`,
          `offered = ${list(rule.offered)}`,
          `refused = ${list(rule.refused)}`,
          `start = ${JSON.stringify(rule.start)}`,
          `prefixes = ${list(rule.prefixes)}`,
          `obfuscation = ${list(rule.obfuscation)}`,
          `relay = ${JSON.stringify(rule.relay)}`,
        ]
      : ['peer = false']),
    '',
  ].join('\n');
}

interface RuleReading {
  readonly value: EdgeRule;
  readonly faults: readonly { readonly key: string; readonly why: string }[];
}

const KEYS = [
  'between',
  'peer',
  'required',
  'offered',
  'refused',
  'start',
  'prefixes',
  'obfuscation',
  'relay',
];

function readRule(table: Record<string, unknown>): RuleReading {
  const faults: { key: string; why: string }[] = [];
  const wrong = (key: string, expected: string, got: unknown): undefined => {
    faults.push({ key, why: `${key}: expected ${expected}, got ${show(got)}` });
    return undefined;
  };
  for (const key of Object.keys(table))
    if (!KEYS.includes(key)) wrong(key, `one of ${KEYS.join(', ')}`, key);
  const list = <T extends string>(
    key: string,
    expected: string,
    read: (text: string) => T | undefined,
    missing: readonly T[],
  ): readonly T[] => {
    const value = table[key];
    if (value === undefined) return missing;
    if (!Array.isArray(value) || value.length > MAX_RULE_ENTRIES)
      return wrong(key, `a list of at most ${MAX_RULE_ENTRIES} entries`, value) ?? [];
    const items = value.flatMap((item) => {
      const text = typeof item === 'string' ? read(item) : undefined;
      return text ?? wrong(key, expected, item) ?? [];
    });
    if (new Set(items).size !== items.length && key !== 'between')
      wrong(key, 'each entry once', value);
    return items;
  };
  const oneOf = <T extends string>(key: string, values: readonly T[], missing: T): T => {
    const value = table[key] ?? missing;
    if (values.includes(value as T)) return value as T;
    return wrong(key, `one of ${values.join(', ')}`, value) ?? missing;
  };
  const peer = table['peer'] ?? true;
  if (typeof peer !== 'boolean') wrong('peer', 'true or false', peer);
  const between = list<Selector>('between', 'a selector: *, role:, region: or name:', selector, []);
  if (between.length !== 2 && !faults.some(({ key }) => key === 'between'))
    wrong('between', 'two selectors', table['between']);
  const contributions = (key: string, missing: readonly Contribution[]) =>
    list<Contribution>(
      key,
      'a contribution: ml-kem-1024, x25519, hqc-256, rosenpass, hardware, broker:NAME, qkd:NAME, skip:NAME or manual',
      (text) => (isContribution(text) ? text : undefined),
      missing,
    );
  const isOpen = peer !== false;
  const value: EdgeRule = {
    between: [between[0] ?? '*', between[1] ?? '*'],
    peer: isOpen,
    required: contributions('required', isOpen ? INDISPENSABLE : []),
    offered: contributions('offered', []),
    refused: contributions('refused', []),
    start: oneOf('start', ['eager', 'lazy'], 'eager'),
    prefixes: list('prefixes', 'a prefix like 10.0.0.0/8, zero bits behind it', prefix, []),
    obfuscation: list<ObfuscationMode>(
      'obfuscation',
      `one of ${OBFUSCATION_MODES.join(', ')}`,
      (text) => OBFUSCATION_MODES.find((mode) => mode === text),
      [],
    ),
    relay: oneOf<Relaying>('relay', RELAYING, 'offered'),
  };
  return { value, faults };
}

function selector(text: string): Selector | undefined {
  return isSelector(text) ? text : undefined;
}

/** In its one form. */
function prefix(text: string): string | undefined {
  const parsed = parseIpPrefix(text);
  return parsed === undefined ? undefined : formatIpPrefix(parsed);
}

function fault(line: number, why: string): PolicyReading {
  return { kind: 'faults', faults: [{ line, why }] };
}

/** By the text: the TOML parser keeps no places. A rule whose header it cannot find counts from the first line. */
function lineFinder(lines: readonly string[]): LineOf {
  const headers = lines.flatMap((line, at) => (/^\s*\[\[\s*edge\s*\]\]/.test(line) ? [at] : []));
  return (rule, key) => {
    if (rule === null) return lineOfKey(lines, 0, headers[0] ?? lines.length, key ?? '') ?? 1;
    const from = headers[rule];
    if (from === undefined) return 1;
    if (key === undefined) return from + 1;
    return lineOfKey(lines, from + 1, headers[rule + 1] ?? lines.length, key) ?? from + 1;
  };
}

function lineOfKey(
  lines: readonly string[],
  from: number,
  to: number,
  key: string,
): number | undefined {
  for (let at = from; at < to; at++) {
    const rest = (lines[at] ?? '').trimStart();
    if (rest.startsWith(key) && /^\s*=/.test(rest.slice(key.length))) return at + 1;
    if (new RegExp(`^\\[+\\s*"?${RegExp.escape(key)}"?\\s*\\]+`).test(rest)) return at + 1;
  }
  return undefined;
}

function show(value: unknown): string {
  const text =
    typeof value === 'string'
      ? JSON.stringify(value)
      : Array.isArray(value)
        ? `a list of ${value.length}`
        : value === undefined
          ? 'nothing'
          : String(value);
  return text.slice(0, 80);
}
