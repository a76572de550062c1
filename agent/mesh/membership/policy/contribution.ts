/** What can be mixed into the key of an edge, by the names that policy, `status` and evidence share. */

/** Those without a name of their own, in the order in which all are shown; the named ones stand before `manual`. */
const PLAIN = ['ml-kem-1024', 'x25519', 'hqc-256', 'rosenpass', 'hardware', 'manual'] as const;
const NAMED = ['broker', 'qkd', 'skip'] as const;

type Plain = (typeof PLAIN)[number];
type Named = (typeof NAMED)[number];

/** `broker:NAME` draws on the broker of that name, `qkd:NAME` and `skip:NAME` on a key manager. */
export type Contribution = Plain | `${Named}:${string}`;

/** Without these there is no agreement in this version, whatever a policy says. */
export const INDISPENSABLE: readonly Contribution[] = ['ml-kem-1024', 'x25519'];

const NAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

export function isContribution(text: string): text is Contribution {
  if ((PLAIN as readonly string[]).includes(text)) return true;
  const [kind = '', name, ...more] = text.split(':');
  return (
    (NAMED as readonly string[]).includes(kind) &&
    name !== undefined &&
    NAME.test(name) &&
    more.length === 0
  );
}

/** Each once, in the order in which they are shown: by kind, and those of one kind by name. */
export function inOrder(contributions: Iterable<Contribution>): readonly Contribution[] {
  return [...new Set(contributions)].toSorted(
    (a, b) => rankOf(a) - rankOf(b) || (a < b ? -1 : a > b ? 1 : 0),
  );
}

/** What protects an edge whose key was made of these; C is the services' own, and is shown beside. */
export function levelOf(sources: readonly Contribution[]): 'A' | 'AB' {
  return sources.includes('rosenpass') ? 'AB' : 'A';
}

function rankOf(contribution: Contribution): number {
  const kinds: readonly string[] = [...PLAIN.slice(0, -1), ...NAMED, 'manual'];
  return kinds.indexOf(contribution.split(':')[0] ?? '');
}
