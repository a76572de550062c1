/**
 * Tunnel proofs: what each says about its mesh and its two ends, checked against key event logs, records,
 * charters and the audit logs of both ends.
 */
import type { Said } from '#kel/identifiers';
import type { AnyRecord, TunnelEndFields, TupRecord } from '#kel/record/record';
import { parseDateTime } from '#src/clock';
import { type Charter, termsBetween } from '../../mesh/membership/charter.ts';
import { epochAt } from '../../mesh/membership/epoch.ts';
import { checkEnd } from './end-evidence.ts';
import type { Evidence, TunnelProof, Words } from './evidence.ts';
import { intervalOf } from './interval.ts';
import { CLOCK_TOLERANCE_MS } from './order.ts';
import type { RecordEvidence } from './record-evidence.ts';
import type { Problems, TunnelEnd, TunnelInterval, TunnelRow } from './report.ts';
import { checkStanding } from './standing.ts';

export function checkTunnel(proof: TunnelProof, evidence: Evidence, problems: Problems): TunnelRow {
  const { record, leaves } = proof;
  const words: Words = { proven: ['identities'], missing: [] };
  const charter = findCharter(record, evidence.records, words, problems);
  if (charter !== undefined) {
    checkStanding(proof, charter, evidence, words, problems);
    checkLevel(record, charter, problems);
    checkPolicy(record, charter, problems);
    checkEpoch(record, charter, words, problems);
  }
  const interval = intervalOf(proof, evidence);
  checkTimes(record, interval, problems);
  const a = checkEnd('a', proof, evidence, words, problems);
  const b = checkEnd('b', proof, evidence, words, problems);
  return {
    proof: record.d,
    a: tunnelEnd(record.a, evidence.records),
    b: tunnelEnd(record.b, evidence.records),
    epoch: record.ep,
    level: record.lv,
    generation: record.g,
    mesh: record.m,
    charter: record.ch,
    interval,
    proven: words.proven,
    claimed: ['handshake-time-a', 'handshake-time-b', 'level', 'interval-times'],
    missing: words.missing,
    logged: { a: leaves.has(record.a.i), b: leaves.has(record.b.i) },
    evidence: { a, b },
  };
}

function tunnelEnd(
  { i: aid, s: sn, d: said }: TunnelEndFields,
  records: RecordEvidence,
): TunnelEnd {
  const name = records.nameOf(aid);
  return { aid, ...(name === undefined ? {} : { name }), sn, said };
}

/** The charter that the proof names, when governors sealed it and every version before it. */
function findCharter(
  record: TupRecord,
  records: RecordEvidence,
  words: Words,
  problems: Problems,
): Charter | undefined {
  const charter = records.charters(record.m).find(({ said }) => said === record.ch);
  if (charter !== undefined) return charter;
  for (let said: Said | '' = record.ch; said !== ''; ) {
    const found: AnyRecord | undefined = records.get(said)?.record;
    if (found === undefined) {
      words.missing.push('charter');
      problems.add('BUNDLE_RECORD_MISSING', 'records', `charter ${said} is not here`);
      return undefined;
    }
    if (found.t !== 'chr') break;
    said = found.p;
  }
  problems.add(
    'BUNDLE_CHARTER',
    'records',
    `charter ${record.ch} is no version of mesh ${record.m} that a governor sealed`,
  );
  return undefined;
}

function checkLevel(record: TupRecord, charter: Charter, problems: Problems): void {
  const lacking = [...charter.minimumLevel].filter((strategy) => !record.lv.includes(strategy));
  if (lacking.length > 0) {
    problems.add(
      'BUNDLE_TUNNEL',
      'records',
      `level ${record.lv} is below ${charter.minimumLevel}, the charter's least`,
    );
  }
}

/** What the policy of the charter that both have signed has for the two. */
function checkPolicy(record: TupRecord, charter: Charter, problems: Problems): void {
  const terms = termsBetween(charter, record.a.i, record.b.i);
  if (terms === undefined) return;
  const what = !terms.peer
    ? `has no tunnel between ${record.a.i} and ${record.b.i}`
    : terms.required.includes('rosenpass') && !record.lv.includes('B')
      ? `requires rosenpass, and the level is ${record.lv}`
      : undefined;
  if (what !== undefined)
    problems.add('BUNDLE_TUNNEL', 'records', `the policy of charter ${charter.said} ${what}`);
}

/** What the proof follows is dated before it, and what follows it after: two ends that date back together do not date what others hold. */
function checkTimes(record: TupRecord, interval: TunnelInterval, problems: Problems): void {
  const { from, to, after, before } = interval;
  const at = (time: string) => parseDateTime(time) ?? 0;
  const isLate = (x: string | null, y: string | null) =>
    x !== null && y !== null && at(x) > at(y) + CLOCK_TOLERANCE_MS;
  if (!isLate(from, record.dt) && !isLate(record.dt, to) && !isLate(from, to)) return;
  const bounds = [from && `after ${after} of ${from}`, to && `before ${before} of ${to}`];
  const message = `tunnel proof ${record.d} of ${record.dt} stands ${bounds.filter(Boolean).join(' and ')}`;
  problems.add('BUNDLE_TIMES', 'records', message);
}

/** From one epoch before the handshakes to one behind the proof: clocks and epoch boundaries meet there. */
function checkEpoch(record: TupRecord, charter: Charter, words: Words, problems: Problems): void {
  const epochOf = (time: string) => epochAt(parseDateTime(time) ?? 0, charter.epochs.lengthSeconds);
  const earliest = Math.min(epochOf(record.a.hs), epochOf(record.b.hs)) - 1;
  const latest = epochOf(record.dt) + 1;
  if (record.ep >= earliest && record.ep <= latest) words.proven.push('psk-epoch');
  else {
    const allowed = `the times of the proof allow ${earliest} to ${latest}`;
    problems.add('BUNDLE_EPOCH', 'records', `PSK epoch ${record.ep}, ${allowed}`);
  }
}
