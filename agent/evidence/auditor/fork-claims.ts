/** Forks of an end that a log in the bundle recorded, and that the key event logs in the bundle do not show. */
import type { Aid } from '#kel/identifiers';
import type { TupRecord } from '#kel/record/record';
import type { CheckedDossier, Evidence } from './evidence.ts';
import { valuesOf } from './log-evidence.ts';

/** Each is reported once per log: a bundle without the two events does not say that there are none. */
export function reportForkClaims(
  proofs: readonly TupRecord[],
  { dossiers }: Pick<Evidence, 'dossiers'>,
): void {
  const ends = new Set(proofs.flatMap(({ a, b }) => [a.i, b.i]));
  for (const dossier of dossiers.values()) {
    reportClosed(dossier);
    for (const [peer, { index, sn }] of openForks(dossier)) {
      if (!ends.has(peer)) continue;
      const message = `leaf ${index} of ${dossier.aid} records two events ${sn} of ${peer}`;
      dossier.problems.add('BUNDLE_FORK_CLAIMED', 'leaves', message);
    }
  }
}

/** One that stays closed may be of an end. */
function reportClosed({ log, problems }: CheckedDossier): void {
  for (const item of log.leaves)
    if (item.leaf.type === 'duplicity' && valuesOf('duplicity', item) === undefined) {
      const message = `leaf ${item.index} records a fork and is not opened`;
      problems.add('BUNDLE_NOT_OPENED', 'leaves', message);
    }
}

/** By AID, those that the log does not resolve. */
function openForks({ log }: CheckedDossier): ReadonlyMap<Aid, { index: number; sn: number }> {
  const forks = new Map<Aid, { index: number; sn: number }>();
  for (const item of log.leaves) {
    const fork = valuesOf('duplicity', item);
    if (fork !== undefined) forks.set(fork.peer, { index: item.index, sn: fork.sn });
    const resolved = valuesOf('resolution', item);
    if (resolved !== undefined) forks.delete(resolved.peer);
  }
  return forks;
}
