/**
 * Tunnel proofs: what each says about its two ends, checked against key event logs, records, charters and the
 * audit logs of both ends.
 */

import { isInception, isRotation } from '#kel/event/key-event';
import type { Aid, Said } from '#kel/identifiers';
import type { AnyRecord, TunnelEndFields, TupRecord, Verified } from '#kel/record/record';
import type { EventReference } from '#kel/state/key-state';
import { equalBytes } from '#src/bytes';
import { parseDateTime } from '#src/clock';
import { epochAt } from '../../agreement/epoch.ts';
import type { Charter } from '../../membership/charter.ts';
import { openedValues } from '../leaf.ts';
import type { KelEvidence } from './kel-evidence.ts';
import type { CheckedLeaf, LogEvidence } from './log-evidence.ts';
import type { FoundRecord, RecordEvidence } from './record-evidence.ts';
import type { Problems, TunnelInterval, TunnelRow } from './report.ts';

/** A dossier that was read as far as its log. */
export interface CheckedDossier {
  readonly aid: Aid;
  /** Date-time of the export. */
  readonly time: string;
  readonly log: LogEvidence;
  readonly problems: Problems;
}

export interface Evidence {
  readonly kels: KelEvidence;
  readonly records: RecordEvidence;
  readonly dossiers: ReadonlyMap<Aid, CheckedDossier>;
}

/** A tunnel proof with two verified signatures, and the leaves that hold it, by the AID of the log. */
export interface TunnelProof {
  readonly record: Verified<TupRecord>;
  readonly leaves: ReadonlyMap<Aid, CheckedLeaf>;
}

type Words = { readonly proven: string[]; readonly missing: string[] };

export function checkTunnel(proof: TunnelProof, evidence: Evidence, problems: Problems): TunnelRow {
  const { record, leaves } = proof;
  const words: Words = { proven: ['both identities signed'], missing: [] };
  const charter = checkCharter(record, evidence, words, problems);
  if (charter !== undefined) checkEpoch(record, charter, words, problems);
  for (const end of [record.a, record.b]) {
    checkTunnelKey(end, proof, evidence, words, problems);
    checkEndLog(end, proof, evidence, words, problems);
  }
  return {
    proof: record.d,
    a: { aid: record.a.i, sn: record.a.s, said: record.a.d },
    b: { aid: record.b.i, sn: record.b.s, said: record.b.d },
    epoch: record.ep,
    level: record.lv,
    generation: record.g,
    mesh: record.m,
    charter: record.ch,
    interval: intervalOf(proof, evidence),
    proven: words.proven,
    claimed: ['handshake times', 'protection level', 'times of the interval'],
    missing: words.missing,
    logged: { a: leaves.has(record.a.i), b: leaves.has(record.b.i) },
  };
}

/** The charter that the proof names, when it is one of its mesh and has both ends as members. */
function checkCharter(
  record: TupRecord,
  { records, kels }: Evidence,
  words: Words,
  problems: Problems,
): Charter | undefined {
  const chain = records.charters(record.m);
  const charter = chain.find(({ said }) => said === record.ch);
  if (charter === undefined) {
    reportCharter(record, records, words, problems);
    return undefined;
  }
  const ends = [record.a.i, record.b.i];
  const outside = ends.find((aid) => !isMember(charter, aid, kels));
  if (outside !== undefined) {
    problems.add(
      'BUNDLE_MEMBERSHIP',
      'records',
      `${outside} is not in charter version ${charter.version}`,
    );
    return charter;
  }
  const lacking = [...charter.minimumLevel].filter((strategy) => !record.lv.includes(strategy));
  if (lacking.length > 0) {
    problems.add(
      'BUNDLE_TUNNEL',
      'records',
      `level ${record.lv} is below the charter's ${charter.minimumLevel}`,
    );
  }
  words.proven.push(`both ends were members under charter version ${charter.version}`);
  return charter;
}

/** Why there is no such charter: a record is not here, or the chain does not hold. */
function reportCharter(
  record: TupRecord,
  records: RecordEvidence,
  words: Words,
  problems: Problems,
): void {
  for (let said: Said | '' = record.ch; said !== ''; ) {
    const found: AnyRecord | undefined = records.get(said)?.record;
    if (found === undefined) {
      words.missing.push(`charter ${said}`);
      problems.add('BUNDLE_RECORD_MISSING', 'records', `charter ${said} is not here`);
      return;
    }
    if (found.t !== 'chr') break;
    said = found.p;
  }
  problems.add(
    'BUNDLE_CHARTER',
    'records',
    `charter ${record.ch} is no version of mesh ${record.m} that a governor sealed`,
  );
}

/** A node of a member is inside too: its delegator is the member. */
function isMember(charter: Charter, aid: Aid, kels: KelEvidence): boolean {
  const delegator = kels.state(aid)?.delegator;
  return charter.members.has(aid) || (delegator !== undefined && charter.members.has(delegator));
}

/** The handshake lies in the epoch or up to one before it, the proof in the epoch or up to one behind it. */
function checkEpoch(record: TupRecord, charter: Charter, words: Words, problems: Problems): void {
  const epochOf = (time: string) => epochAt(parseDateTime(time) ?? 0, charter.epochs.lengthSeconds);
  const earliest = Math.min(epochOf(record.a.hs), epochOf(record.b.hs)) - 1;
  const latest = epochOf(record.dt) + 1;
  if (record.ep < earliest || record.ep > latest) {
    problems.add(
      'BUNDLE_EPOCH',
      'records',
      `epoch ${record.ep}, the times of the proof allow ${earliest} to ${latest}`,
    );
  } else words.proven.push(`both ends signed PSK epoch ${record.ep}`);
}

/** The tunnel keys of one end: announced by it, derived from one of its establishment events, sealed. */
function checkTunnelKey(
  end: TunnelEndFields,
  { leaves }: TunnelProof,
  { kels, records, dossiers }: Evidence,
  words: Words,
  problems: Problems,
): void {
  const found = records.get(end.t);
  if (found === undefined) {
    words.missing.push(`tunnel key record ${end.t} of ${end.i}`);
    problems.add(
      'BUNDLE_RECORD_MISSING',
      'records',
      `tunnel key record ${end.t} of ${end.i} is not here`,
    );
    return;
  }
  const index = leaves.get(end.i)?.index;
  const anchor =
    index === undefined ? undefined : dossiers.get(end.i)?.log.anchorAfter(index)?.anchor;
  const fault = keyFault(end, found, anchor, kels);
  if (fault === undefined) {
    words.proven.push(`tunnel keys of ${end.i} were sealed in its key event ${found.sealedIn?.sn}`);
  } else problems.add('BUNDLE_TUNNEL_KEY', 'records', `tunnel key record ${end.t}: ${fault}`);
}

/** @param anchor the event that commits to the leaf of the tunnel */
function keyFault(
  end: TunnelEndFields,
  { record, sealedIn }: FoundRecord,
  anchor: EventReference | undefined,
  kels: KelEvidence,
): string | undefined {
  if (record.t !== 'tun' || record.i !== end.i) return `not a tun record of ${end.i}`;
  if (sealedIn === undefined) return `no key event of ${end.i} seals it`;
  const { s, d } = record.es;
  if (s > end.s || kels.establishment(end.i, s, d) === undefined) {
    return `derives from event ${s} ${d}, which is none of ${end.i} up to ${end.s}`;
  }
  if (sealedIn.sn >= s && sealedIn.sn <= (anchor?.sn ?? sealedIn.sn)) return undefined;
  return `sealed in event ${sealedIn.sn}, needed from ${s} to ${anchor?.sn}`;
}

/** What the audit log of one end says about the tunnel, and what the tunnel says about that log. */
function checkEndLog(
  end: TunnelEndFields,
  { record, leaves }: TunnelProof,
  evidence: Evidence,
  words: Words,
  problems: Problems,
): void {
  const dossier = evidence.dossiers.get(end.i);
  if (dossier === undefined) {
    words.missing.push(`dossier of ${end.i}`);
    return;
  }
  const leaf = leaves.get(end.i);
  const isLater = dossier.time > record.dt;
  if (leaf === undefined) {
    const code = isLater ? 'BUNDLE_UNLOGGED' : 'BUNDLE_NOT_YET_LOGGED';
    words.missing.push(`leaf in the log of ${end.i}`);
    dossier.problems.add(
      code,
      'leaves',
      `no leaf holds tunnel proof ${record.d}, which ${end.i} signed`,
    );
  } else {
    checkLeafOrder(end, record, leaf, dossier, evidence, words, problems);
  }
  checkShownCheckpoint(end, dossier, isLater, words);
}

/** Where the leaf stands in the log of `end`: among key states and charters. */
function checkLeafOrder(
  end: TunnelEndFields,
  record: TupRecord,
  { index }: CheckedLeaf,
  { log, problems: own }: CheckedDossier,
  { kels, records }: Evidence,
  words: Words,
  problems: Problems,
): void {
  words.proven.push(`leaf ${index} in the log of ${end.i}`);
  const after = log.anchorAfter(index)?.anchor;
  const before = log.anchorBefore(index)?.anchor;
  if (after === undefined)
    words.missing.push(`anchor of leaf ${index} in the key event log of ${end.i}`);
  else words.proven.push(`key event ${after.sn} of ${end.i} commits to that leaf`);
  const successor = kels
    .events(end.i)
    .find((event) => event.sn > end.s && (isInception(event) || isRotation(event)));
  const isOver = before !== undefined && successor !== undefined && successor.sn <= before.sn;
  if (isOver || (after !== undefined && after.sn < end.s)) {
    problems.add(
      'BUNDLE_TUNNEL',
      'leaves',
      `${end.i} signed with the keys of event ${end.s}, logged between events ${before?.sn ?? 0} and ${after?.sn}`,
    );
  }
  if (end.c.n > index) {
    own.add(
      'BUNDLE_FORK',
      'leaves',
      `leaf ${index} holds a proof that names size ${end.c.n} of the same log`,
    );
  }
  const known = latestCharter(log, index, records.charters(record.m));
  const outside = [record.a.i, record.b.i].find(
    (aid) => known !== undefined && !isMember(known, aid, kels),
  );
  const named = records.charters(record.m).find(({ said }) => said === record.ch);
  if (outside !== undefined && known !== undefined && known.version > (named?.version ?? 0)) {
    problems.add(
      'BUNDLE_MEMBERSHIP',
      'leaves',
      `${outside} was out since charter version ${known.version}, which the log of ${end.i} shows before leaf ${index}`,
    );
  }
}

/** The newest charter that the log had recorded before leaf `index`. */
function latestCharter(
  log: LogEvidence,
  index: number,
  chain: readonly Charter[],
): Charter | undefined {
  let latest: Charter | undefined;
  for (const item of log.leaves) {
    if (item.index >= index) break;
    const values =
      item.leaf.type === 'membership' ? openedValues('membership', item.openings) : undefined;
    const charter = chain.find(({ said }) => said === values?.charter);
    if (charter !== undefined && charter.version >= (latest?.version ?? 0)) latest = charter;
  }
  return latest;
}

/** The checkpoint that `end` gave to the other must be one of the log that it shows now. */
function checkShownCheckpoint(
  end: TunnelEndFields,
  dossier: CheckedDossier,
  isLater: boolean,
  words: Words,
): void {
  const { log, problems } = dossier;
  const { o, n, r } = end.c;
  const origin = log.checkpoints.at(-1)?.origin;
  const root = log.rootAt(n);
  if (n > log.size) {
    if (isLater)
      problems.add(
        'BUNDLE_TRUNCATED_LOG',
        'checkpoints',
        `a peer holds size ${n} of this log, the dossier shows ${log.size}`,
      );
  } else if (root === undefined) {
    words.missing.push(`leaves of ${end.i} up to ${n}`);
  } else if ((origin !== undefined && o !== origin) || !equalBytes(root, r)) {
    problems.add(
      'BUNDLE_FORK',
      'checkpoints',
      `a peer holds another root at size ${n} of log ${o}`,
    );
  } else {
    words.proven.push(`log of ${end.i} extends the checkpoint that it showed to its peer`);
  }
}

interface Bound {
  readonly time: string;
  readonly what: string;
}

function intervalOf(
  { record, leaves }: TunnelProof,
  { records, dossiers }: Evidence,
): TunnelInterval {
  const ends = [record.a, record.b];
  const lower: Bound[] = ends.flatMap((end) => {
    const key = records.get(end.t)?.record;
    const last = dossiers.get(end.i)?.log.leaf(end.c.n - 1);
    return [
      ...(key === undefined ? [] : [{ time: key.dt, what: `tunnel key record ${end.t}` }]),
      ...(last === undefined
        ? []
        : [{ time: last.leaf.time, what: `checkpoint of ${end.c.n} leaves of ${end.i}` }]),
    ];
  });
  const charter = records.get(record.ch)?.record;
  if (charter !== undefined) lower.push({ time: charter.dt, what: `charter ${record.ch}` });
  const upper = ends.flatMap((end) => upperBound(leaves.get(end.i)?.index, dossiers.get(end.i)));
  lower.sort((x, y) => (x.time > y.time ? -1 : 1));
  upper.sort((x, y) => (x.time < y.time ? -1 : 1));
  return {
    from: lower[0]?.time ?? record.dt,
    after: lower[0]?.what ?? 'the tunnel proof itself',
    to: upper[0]?.time ?? null,
    before: upper[0]?.what ?? null,
    claimed: { a: record.a.hs, b: record.b.hs },
    basis: 'order is proven, times are claims of the signers',
  };
}

/** The leaf that records the anchoring key event, else the export, which was signed after it. */
function upperBound(
  index: number | undefined,
  dossier: CheckedDossier | undefined,
): readonly Bound[] {
  const checkpoint = index === undefined ? undefined : dossier?.log.anchorAfter(index);
  if (dossier === undefined || checkpoint?.anchor === undefined) return [];
  const { sn, said } = checkpoint.anchor;
  const what = `key event ${sn} of ${dossier.aid}, which anchors ${checkpoint.size} leaves`;
  const note = dossier.log.leaves.find(
    ({ leaf, openings }) =>
      leaf.type === 'kel-event' && openedValues('kel-event', openings)?.said === said,
  );
  return [{ time: note?.leaf.time ?? dossier.time, what }];
}
