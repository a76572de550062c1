/** One end of a tunnel proof: its tunnel keys, its leaf, and the checkpoint of its log that it gave away. */

import type { EventReference } from '#kel/key-state/key-state';
import type { TunnelEndFields } from '#kel/record/record';
import { equalBytes } from '#src/bytes';
import { formatDateTime, parseDateTime } from '#src/clock';
import type { CheckedDossier, Evidence, TunnelProof, Words } from './evidence.ts';
import type { KelEvidence } from './kel-evidence.ts';
import { type LogEvidence, valuesOf } from './log-evidence.ts';
import { CLOCK_TOLERANCE_MS, claimedOrder, claimedStart } from './order.ts';
import type { FoundRecord } from './record-evidence.ts';
import type { EndEvidence, LeafPlace, Problems } from './report.ts';

export type Side = 'a' | 'b';

export function checkEnd(
  side: Side,
  proof: TunnelProof,
  evidence: Evidence,
  words: Words,
  problems: Problems,
): EndEvidence {
  const end = proof.record[side];
  const index = proof.leaves.get(end.i)?.index;
  const log = evidence.dossiers.get(end.i)?.log;
  const anchor = index === undefined ? undefined : log?.anchorAfter(index)?.anchor;
  const key = evidence.records.get(end.t);
  checkTunnelKey(side, proof, key, anchor, evidence.kels, words, problems);
  checkLog(side, proof, evidence, words);
  if (index !== undefined) checkOrder(end, proof, evidence, problems);
  return {
    tunnelKey: end.t,
    sealedAt: key?.sealedIn?.sn ?? null,
    leaf: index ?? null,
    neighbours: {
      before: leafPlace(log, index === undefined ? undefined : index - 1),
      after: leafPlace(log, index === undefined ? undefined : index + 1),
    },
    checkpoint: (index === undefined ? undefined : log?.checkpointAfter(index)?.size) ?? null,
    anchoredAt: anchor?.sn ?? null,
  };
}

function leafPlace(log: LogEvidence | undefined, index: number | undefined): LeafPlace | null {
  const found = index === undefined ? undefined : log?.leaf(index);
  return found === undefined ? null : { leaf: found.index, time: found.leaf.time };
}

function checkTunnelKey(
  side: Side,
  proof: TunnelProof,
  key: FoundRecord | undefined,
  anchor: EventReference | undefined,
  kels: KelEvidence,
  words: Words,
  problems: Problems,
): void {
  const end = proof.record[side];
  if (key === undefined) {
    words.missing.push(`tunnel-key-${side}`);
    problems.add(
      'BUNDLE_RECORD_MISSING',
      'records',
      `tunnel key record ${end.t} of ${end.i} is not here`,
    );
    return;
  }
  const fault = keyFault(end, key, anchor, kels) ?? validityFault(proof, key);
  if (fault !== undefined) {
    words.missing.push(`tunnel-key-${side}`);
    problems.add('BUNDLE_TUNNEL_KEY', 'records', `tunnel key record ${end.t}: ${fault}`);
  } else if (isAtItsLimit(proof, key)) {
    words.missing.push(`tunnel-key-${side}`);
    const message = `tunnel key record ${end.t} began or ended within a minute of the tunnel`;
    problems.add('BUNDLE_ORDER', 'records', message);
  } else words.proven.push(`tunnel-key-${side}`);
}

/** The tunnel came up while the record says that its keys are valid, clocks allowed for. */
function validityFault(proof: TunnelProof, { record }: FoundRecord): string | undefined {
  if (record.t !== 'tun') return undefined;
  if (claimedOrder(proof, record.na) === 'after') return `it ended at ${record.na}`;
  // Read backwards: the record begins after the earliest that the tunnel says of itself.
  const isEarly = claimedStart(proof, earlier(record.nb)) === 'before';
  return isEarly ? `it began at ${record.nb}` : undefined;
}

function isAtItsLimit(proof: TunnelProof, { record }: FoundRecord): boolean {
  if (record.t !== 'tun') return false;
  return (
    claimedOrder(proof, record.na) === 'unclear' || claimedStart(proof, record.nb) === 'before'
  );
}

/** @returns `time` less the tolerance of clocks */
function earlier(time: string): string {
  return formatDateTime((parseDateTime(time) ?? 0) - CLOCK_TOLERANCE_MS);
}

/** Announced by this end, derived from the establishment event that signs, sealed no later than the tunnel. */
function keyFault(
  end: TunnelEndFields,
  { record, sealedIn }: FoundRecord,
  anchor: EventReference | undefined,
  kels: KelEvidence,
): string | undefined {
  if (record.t !== 'tun' || record.i !== end.i) return `not a tun record of ${end.i}`;
  if (sealedIn === undefined) return `no key event of ${end.i} seals it`;
  const { s, d } = record.es;
  if (s !== end.s || d !== end.d || kels.establishment(end.i, s, d) === undefined)
    return `derives from event ${s} ${d}, ${end.i} signed with the keys of event ${end.s} ${end.d}`;
  if (sealedIn.sn >= s && sealedIn.sn <= (anchor?.sn ?? sealedIn.sn)) return undefined;
  return `sealed in event ${sealedIn.sn}, needed from ${s} to ${anchor?.sn}`;
}

/** What the log of this end says about the tunnel, and what the tunnel says about that log. */
function checkLog(
  side: Side,
  { record, leaves }: TunnelProof,
  { dossiers }: Evidence,
  words: Words,
): void {
  const end = record[side];
  const dossier = dossiers.get(end.i);
  if (dossier === undefined) {
    words.missing.push(`dossier-${side}`);
    return;
  }
  const isLater = isAfter(dossier.time, record.dt);
  const index = leaves.get(end.i)?.index;
  if (index === undefined) {
    words.missing.push(`log-${side}`);
    // A leaf that stays closed may be the one, which is reported where it stands.
    if (!hasClosedTunnel(dossier.log)) {
      const code = isLater ? 'BUNDLE_UNLOGGED' : 'BUNDLE_NOT_YET_LOGGED';
      const message = `no leaf holds tunnel proof ${record.d}, which ${end.i} signed`;
      dossier.problems.add(code, 'leaves', message);
    }
  } else {
    words.proven.push(`log-${side}`);
    const isAnchored = dossier.log.anchorAfter(index) !== undefined;
    (isAnchored ? words.proven : words.missing).push(`anchor-${side}`);
  }
  checkShownCheckpoint(side, end, dossier, isLater, words);
}

/** Whether an export at `exported` must show what was signed at `signed`, delivery and clocks allowed for. */
function isAfter(exported: string, signed: string): boolean {
  return (parseDateTime(exported) ?? 0) > (parseDateTime(signed) ?? 0) + CLOCK_TOLERANCE_MS;
}

function hasClosedTunnel(log: LogEvidence): boolean {
  return log.leaves.some(
    (item) => item.leaf.type === 'tunnel-up' && valuesOf('tunnel-up', item) === undefined,
  );
}

/** The checkpoint that `end` gave to the other must be one of the log that it shows now. */
function checkShownCheckpoint(
  side: Side,
  end: TunnelEndFields,
  { log, problems }: CheckedDossier,
  isLater: boolean,
  words: Words,
): void {
  const { o, n, r } = end.c;
  const origin = log.checkpoints.at(-1)?.origin ?? o;
  const root = log.rootAt(n);
  if (n > log.size && isLater) {
    problems.add(
      'BUNDLE_TRUNCATED_LOG',
      'checkpoints',
      `a peer holds size ${n} of this log, the dossier shows ${log.size}`,
    );
  } else if (root === undefined) {
    words.missing.push(`history-${side}`);
  } else if (o !== origin || !equalBytes(root, r)) {
    problems.add(
      'BUNDLE_FORK',
      'checkpoints',
      `a peer holds another root at size ${n} of log ${o}`,
    );
  } else words.proven.push(`history-${side}`);
}

/** Where the leaf stands in the log of `end`: among its key states and its checkpoints. */
function checkOrder(
  end: TunnelEndFields,
  proof: TunnelProof,
  { kels, dossiers }: Evidence,
  problems: Problems,
): void {
  const index = proof.leaves.get(end.i)?.index ?? 0;
  const log = dossiers.get(end.i)?.log;
  if (log === undefined) return;
  const after = log.anchorAfter(index)?.anchor;
  const before = log.anchorBefore(index)?.anchor;
  if (!isInForce(end, before, after, kels)) {
    const bounds = `between key events ${before?.sn ?? 0} and ${after?.sn ?? 'the last'}`;
    problems.add(
      'BUNDLE_TUNNEL',
      'leaves',
      `${end.i} signed with the keys of event ${end.s}, logged ${bounds}`,
    );
  }
  if (end.c.n > index) {
    problems.add(
      'BUNDLE_FORK',
      'leaves',
      `leaf ${index} of ${end.i} holds a proof that names size ${end.c.n} of the same log`,
    );
  }
  const successor = kels.establishments(end.i).find(({ sn }) => sn > end.s);
  const since = successor === undefined ? undefined : log.timeOfKeyEvent(successor.said);
  if (since !== undefined && claimedOrder(proof, since) === 'after') {
    const message = `${end.i} signed with the keys of event ${end.s}, its log shows event ${successor?.sn} at ${since}`;
    problems.add('BUNDLE_TUNNEL', 'leaves', message);
  }
}

/** The establishment event of `end` had come by `after`, and its successor had not come by `before`. */
function isInForce(
  end: TunnelEndFields,
  before: EventReference | undefined,
  after: EventReference | undefined,
  kels: KelEvidence,
): boolean {
  if (after !== undefined && after.sn < end.s) return false;
  const successor = kels.establishments(end.i).find(({ sn }) => sn > end.s);
  return successor === undefined || before === undefined || successor.sn > before.sn;
}
