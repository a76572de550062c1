/** A rule of edge policy, as the charter carries it; what follows from it, `policyOf` of the mesh says. */
import { formatIpPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import type { NodeRole } from './node-role.ts';
import {
  boolean,
  checked,
  checkedText,
  list,
  type MapSchemas,
  map,
  oneOf,
  textOf,
} from './schema.ts';

/** Contributions without a name of their own, in the order in which all are shown; the named ones stand before `manual`. */
export const PLAIN_CONTRIBUTIONS = [
  'ml-kem-1024',
  'x25519',
  'hqc-256',
  'rosenpass',
  'hardware',
  'manual',
] as const;
export const NAMED_CONTRIBUTIONS = ['broker', 'qkd', 'skip'] as const;

/** What can be mixed into the key of an edge; `broker:NAME` draws on the broker of that name, `qkd:NAME` and `skip:NAME` on a key manager. */
export type Contribution =
  | (typeof PLAIN_CONTRIBUTIONS)[number]
  | `${(typeof NAMED_CONTRIBUTIONS)[number]}:${string}`;

/** `*`, `role:server`, `region:eu`, or `name:hospital-a`. */
export type Selector = '*' | `role:${NodeRole}` | `region:${string}` | `name:${string}`;

export const OBFUSCATION_MODES = ['mask', 'pad', 'buckets', 'constant', 'hop', 'decoy'] as const;
export type ObfuscationMode = (typeof OBFUSCATION_MODES)[number];

export const RELAYING = ['refused', 'offered', 'required'] as const;
export type Relaying = (typeof RELAYING)[number];

export interface EdgeRule {
  /** Either end may match either. */
  readonly between: readonly [Selector, Selector];
  /** Whether such a pair has a tunnel at all. */
  readonly peer: boolean;
  /** Without these the edge stays down. */
  readonly required: readonly Contribution[];
  /** Mixed in where both ends have them. */
  readonly offered: readonly Contribution[];
  /** Never mixed in. What no list names is refused too. */
  readonly refused: readonly Contribution[];
  /** `lazy`: the tunnel comes up when a packet wants to go through. */
  readonly start: 'eager' | 'lazy';
  /** Prefixes beside the overlay addresses that the ends may route through it, in their one form. */
  readonly prefixes: readonly string[];
  /** Modes that the ends may choose. */
  readonly obfuscation: readonly ObfuscationMode[];
  /** Whether other members may carry its packets. */
  readonly relay: Relaying;
}

export const MAX_EDGE_RULES = 256;
/** Of one list in a rule. */
export const MAX_RULE_ENTRIES = 64;

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const SELECTOR =
  /^(\*|role:(server|relay|device)|region:[^\p{Cc}]{1,64}|name:[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)$/u;

export function isContribution(text: string): text is Contribution {
  if ((PLAIN_CONTRIBUTIONS as readonly string[]).includes(text)) return true;
  const [kind = '', name, ...more] = text.split(':');
  return (
    (NAMED_CONTRIBUTIONS as readonly string[]).includes(kind) &&
    name !== undefined &&
    NAME.test(name) &&
    more.length === 0
  );
}

export function isSelector(text: string): text is Selector {
  return text.isWellFormed() && SELECTOR.test(text);
}

/** An IP prefix in its one form. */
export const prefix = checkedText(64, 'an IP prefix in its shortest form', (text) => {
  const parsed = parseIpPrefix(text);
  return parsed !== undefined && formatIpPrefix(parsed) === text;
});

const contributions = once(textOf<Contribution>('a contribution', isContribution));
const selectors = list(textOf<Selector>('a selector', isSelector), 2, 2);

const rule: MapSchemas<EdgeRule> = {
  between: selectors as unknown as MapSchemas<EdgeRule>['between'],
  peer: boolean,
  required: contributions,
  offered: contributions,
  refused: contributions,
  start: oneOf('eager', 'lazy'),
  prefixes: once(prefix),
  obfuscation: once(oneOf(...OBFUSCATION_MODES)),
  relay: oneOf(...RELAYING),
};

export const edgeRules = list(map<EdgeRule>(rule), 0, MAX_EDGE_RULES);

function once<T extends string>(item: Parameters<typeof list<T>>[0]) {
  return checked(list(item, 0, MAX_RULE_ENTRIES), (entries) =>
    new Set(entries).size === entries.length ? undefined : 'each entry once',
  );
}
