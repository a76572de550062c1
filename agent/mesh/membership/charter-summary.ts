/** What a new charter changes, in one line of the audit log. */
import type { Charter } from './charter.ts';

/** AIDs with `+` or `-`, else `terms`; at most 4,096 characters. */
export function summarizeCharter(before: Charter | undefined, after: Charter): string {
  const added = [...after.members.keys()].filter((aid) => before?.members.has(aid) !== true);
  const gone = [...(before?.members.keys() ?? [])].filter((aid) => !after.members.has(aid));
  return (
    [...added.map((aid) => `+${aid}`), ...gone.map((aid) => `-${aid}`)].join(' ').slice(0, 4_096) ||
    'terms'
  );
}
