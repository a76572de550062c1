/** What can be mixed into the key of an edge: which of it is always there, and the order in which it is shown. */
import { type Contribution, NAMED_CONTRIBUTIONS, PLAIN_CONTRIBUTIONS } from '#kel/record/edge-rule';

/** Without these there is no agreement in this version, whatever a policy says. */
export const INDISPENSABLE: readonly Contribution[] = ['ml-kem-1024', 'x25519'];

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
  const kinds: readonly string[] = [
    ...PLAIN_CONTRIBUTIONS.slice(0, -1),
    ...NAMED_CONTRIBUTIONS,
    'manual',
  ];
  return kinds.indexOf(contribution.split(':')[0] ?? '');
}
