/**
 * The verdict, in one place (DESIGN section 7): a pure function of what was found, and nothing else leads to the word `clean`.
 *
 * `failed`: the evidence contradicts itself. `incomplete`: it does not, and something that a sceptical auditor wants to see is
 * not there: any word that could not be shown of any tunnel, any gap, anything that a bound kept out, or no tunnel at all.
 */
import { type BundleProblemCode, bundleContradictions } from '../format/errors.ts';

export type Verdict = 'clean' | 'incomplete' | 'failed';

export interface Findings {
  readonly problems: readonly { readonly code: BundleProblemCode }[];
  /** One per tunnel proof in the bundle. */
  readonly tunnels: readonly { readonly missing: readonly string[] }[];
}

export function verdictOf({ problems, tunnels }: Findings): Verdict {
  if (problems.some(({ code }) => Object.hasOwn(bundleContradictions, code))) return 'failed';
  const isWhole = problems.length === 0 && tunnels.every(({ missing }) => missing.length === 0);
  return isWhole && tunnels.length > 0 ? 'clean' : 'incomplete';
}
