/** The report of an audit for people: the verdict with what it is about, the order bounds, what is claimed, what is missing. */
import type { AuditReport, EndEvidence, TunnelRow } from '../evidence/auditor/report.ts';
import { type Io, note, print, table } from './io.ts';

export function describeAudit(io: Io, report: AuditReport): void {
  const named = namesIn(report);
  const { verdict, tunnelCount, organisations, tunnels, problems } = report;
  print(io, `verdict: ${verdict}, ${tunnelCount} ${tunnelCount === 1 ? 'tunnel' : 'tunnels'}`);
  if (organisations.length > 0) {
    const rows = organisations.map((row) => [
      ...[row.name ?? '-', String(row.sn), String(row.leaves), String(row.superseded), row.aid],
    ]);
    const head = ['organisation', 'log up to', 'leaves', 'replaced events', 'aid'];
    print(io, ['', ...table([head, ...rows])]);
  }
  if (tunnels.length > 0) {
    const head = ['tunnel between', 'and', 'level', 'epoch', 'after', 'before', 'covered by'];
    print(io, [
      '',
      ...table([[...head, 'claimed'], ...tunnels.map((row) => tunnelCells(row, named))]),
    ]);
    note(io, 'the order (after, before, covered by) is proven; claimed is what the signers say');
  }
  for (const row of tunnels)
    if (row.missing.length > 0)
      print(io, [
        '',
        `missing: ${row.missing.join(', ')} (tunnel ${row.proof}, ${named(endsOf(row))})`,
      ]);
  for (const { code, section, where, message } of problems)
    print(io, ['', `problem: ${code} in ${section}, ${named(where)}: ${named(message)}`]);
}

function tunnelCells(row: TunnelRow, named: (text: string) => string): readonly string[] {
  const { a, b, level, epoch, interval, evidence } = row;
  const cover = [coverOf(a.aid, evidence.a), coverOf(b.aid, evidence.b)].flat();
  return [
    `${named(a.aid)} (event ${a.sn})`,
    `${named(b.aid)} (event ${b.sn})`,
    level,
    String(epoch),
    named(interval.after ?? 'nothing here'),
    named(interval.before ?? 'nothing here'),
    cover.length === 0 ? 'nothing here' : named(cover.join('; ')),
    `handshakes ${short(interval.claimed.a)}, ${short(interval.claimed.b)}; written ${short(interval.from)} to ${short(interval.to)}`,
  ];
}

/** A date-time without microseconds, which no clock here has. */
function short(time: string | null): string {
  return time === null ? 'unknown' : `${time.slice(0, 23)}Z`;
}

/** The key event that commits to the leaf, else the checkpoint that counts it. */
function coverOf(aid: string, { anchoredAt, checkpoint }: EndEvidence): readonly string[] {
  if (anchoredAt !== null) return [`key event ${anchoredAt} of ${aid}`];
  return checkpoint === null ? [] : [`checkpoint of ${checkpoint} leaves of ${aid}`];
}

function endsOf({ a, b }: TunnelRow): string {
  return `${a.aid} and ${b.aid}`;
}

/** Puts the names of the charter in the place of AIDs. */
function namesIn({ organisations, tunnels }: AuditReport): (text: string) => string {
  const names = new Map<string, string>();
  for (const { aid, name } of [...organisations, ...tunnels.flatMap(({ a, b }) => [a, b])])
    if (name !== undefined) names.set(aid, name);
  return (text) => {
    let result = text;
    for (const [aid, name] of names) result = result.replaceAll(aid, name);
    return result;
  };
}
