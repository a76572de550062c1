/** When a tunnel proof was made: after everything that it refers to, before everything that refers to it. */
import type { CheckedDossier, Evidence, TunnelProof } from './evidence.ts';
import type { CheckedLeaf } from './log-evidence.ts';
import type { TunnelInterval } from './report.ts';

interface Bound {
  /** Date-time. */
  readonly time: string;
  readonly what: string;
}

export function intervalOf(proof: TunnelProof, evidence: Evidence): TunnelInterval {
  const { record, leaves } = proof;
  const lower = lowerBounds(proof, evidence).toSorted((x, y) => (x.time > y.time ? -1 : 1));
  const upper = [record.a, record.b]
    .flatMap((end) => upperBound(leaves.get(end.i), evidence.dossiers.get(end.i)))
    .sort((x, y) => (x.time < y.time ? -1 : 1));
  return {
    from: lower[0]?.time ?? null,
    after: lower[0]?.what ?? null,
    to: upper[0]?.time ?? null,
    before: upper[0]?.what ?? null,
    claimed: { a: record.a.hs, b: record.b.hs },
    basis: 'order is proven, times are claims of the signers',
  };
}

/** The proof holds the digests of tunnel key records and charter, and the roots of both logs as they were. */
function lowerBounds({ record }: TunnelProof, { records, dossiers }: Evidence): readonly Bound[] {
  const named = [
    { said: record.ch, what: `charter ${record.ch}` },
    ...[record.a, record.b].map(({ t }) => ({ said: t, what: `tunnel key record ${t}` })),
  ].flatMap(({ said, what }) => {
    const found = records.get(said);
    return found === undefined ? [] : [{ time: found.record.dt, what }];
  });
  const logged = [record.a, record.b].flatMap(({ i, c }) => {
    const last = dossiers.get(i)?.log.leaf(c.n - 1);
    return last === undefined ? [] : [{ time: last.leaf.time, what: `leaf ${last.index} of ${i}` }];
  });
  return [...named, ...logged];
}

/** The leaf that holds the proof, once a checkpoint counts it: what is exported when is of no account. */
function upperBound(
  item: CheckedLeaf | undefined,
  dossier: CheckedDossier | undefined,
): readonly Bound[] {
  if (item === undefined || dossier?.log.checkpointAfter(item.index) === undefined) return [];
  return [{ time: item.leaf.time, what: `leaf ${item.index} of ${dossier.aid}` }];
}
