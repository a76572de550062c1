/** With whom this node has a tunnel, and on which terms: what the policy of the charter says, and what this node can do. */
import type { Aid } from '#kel/identifiers';
import type { Contribution } from '#kel/record/edge-rule';
import { unreachable } from '#src/errors';
import type { Member } from '../../mesh/membership/charter.ts';
import type { Membership } from '../../mesh/membership/membership.ts';
import { lackingOf } from '../../mesh/membership/policy/edge-policy.ts';
import type { PairPolicyTerms } from '../../mesh/membership/policy/mesh-policy.ts';

/** How a pair stands to the policy. */
export type Edge =
  | { readonly kind: 'open'; readonly terms: PairPolicyTerms }
  /** The two have no tunnel. */
  | { readonly kind: 'closed'; readonly terms: PairPolicyTerms }
  /** What is required cannot be mixed in here: it stays down. */
  | { readonly kind: 'lacking'; readonly lacking: readonly Contribution[] }
  /** Not a member in good standing. */
  | { readonly kind: 'none' };

export interface EdgesDeps {
  readonly membership: Pick<Membership, 'standing'>;
  /** What this node can mix into a key with `aid`. */
  readonly mixable: (aid: Aid) => readonly Contribution[];
}

export class Edges {
  readonly #deps: EdgesDeps;

  constructor(deps: EdgesDeps) {
    this.#deps = deps;
  }

  of(aid: Aid): Edge {
    const { membership, mixable } = this.#deps;
    const { standing } = membership;
    const terms = standing.termsWith(aid);
    if (standing.other(aid) === undefined || terms === undefined) return { kind: 'none' };
    if (!terms.peer) return { kind: 'closed', terms };
    const lacking = lackingOf(terms, mixable(aid));
    return lacking.length > 0 ? { kind: 'lacking', lacking } : { kind: 'open', terms };
  }

  /** Members with which there is to be a tunnel, in AID order. */
  open(): readonly Member[] {
    return this.#deps.membership.standing.others.filter(({ aid }) => this.of(aid).kind === 'open');
  }

  /** Whether a key that was made of `sources` may carry the tunnel to `aid`. */
  suffices(aid: Aid, sources: readonly Contribution[]): boolean {
    const edge = this.of(aid);
    return edge.kind === 'open' && lackingOf(edge.terms, sources).length === 0;
  }
}

/** In the audit log, of a tunnel that goes. */
export function whyNone(edge: Edge): string {
  switch (edge.kind) {
    case 'open':
      return 'open';
    case 'closed':
      return 'the policy has no tunnel between the two';
    case 'lacking':
      return `the policy requires ${edge.lacking.join(', ')}`;
    case 'none':
      return 'not a member';
    default:
      return unreachable(edge);
  }
}
