/**
 * Whether both ends of a tunnel were in force when it came up: members under every sealed charter of the whole bundle,
 * under no sealed revocation of it, and suspended by no log that had seen a fork of theirs.
 */
import type { Aid } from '#kel/identifiers';
import type { RvkRecord, TunnelEndFields } from '#kel/record/record';
import type { Charter } from '../../mesh/membership/charter.ts';
import { type Evidence, isMember, type TunnelProof, type Words } from './evidence.ts';
import { valuesOf } from './log-evidence.ts';
import { claimedOrder, isProvenAfter, type Order } from './order.ts';
import type { SealedRevocation } from './record-evidence.ts';
import type { Problems } from './report.ts';

/** @param named the charter that the proof names */
export function checkStanding(
  proof: TunnelProof,
  named: Charter,
  evidence: Evidence,
  words: Words,
  problems: Problems,
): void {
  const charters = evidence.records.charters(proof.record.m);
  const orders = charters.map((charter) => orderOfCharter(proof, charter, charters, evidence));
  const inForce = charters.findLast(
    (charter, i) => charter.version <= named.version || orders[i] === 'after',
  );
  const current = inForce ?? named;
  const unclear = charters.filter(
    ({ version }, i) => version > current.version && orders[i] === 'unclear',
  );
  const standings = [proof.record.a, proof.record.b].map((end) => {
    const isIn = checkMember(end.i, [named, current], unclear, evidence, problems);
    const isTrusted = checkRevocations(end, proof, current, evidence, problems);
    return isIn && isTrusted;
  });
  if (standings.every((isGood) => isGood)) words.proven.push('membership');
  else words.missing.push('membership');
  checkSuspension(proof, evidence, problems);
}

function checkMember(
  aid: Aid,
  inForce: readonly Charter[],
  unclear: readonly Charter[],
  { kels }: Evidence,
  problems: Problems,
): boolean {
  const without = inForce.find((charter) => !isMember(charter, aid, kels));
  if (without !== undefined) {
    const message = `${aid} is not in charter version ${without.version}, which was in force`;
    problems.add('BUNDLE_MEMBERSHIP', 'records', message);
    return false;
  }
  const later = unclear.find((charter) => !isMember(charter, aid, kels));
  if (later === undefined) return true;
  const message = `charter version ${later.version}, without ${aid}, came within a minute of the tunnel`;
  problems.add('BUNDLE_ORDER', 'records', message);
  return false;
}

/** A log had recorded the charter or a later one before the tunnel, a governor's log had sealed it, or its time says so. */
function orderOfCharter(
  proof: TunnelProof,
  charter: Charter,
  charters: readonly Charter[],
  evidence: Evidence,
): Order {
  const record = evidence.records.get(charter.said)?.record;
  if (record === undefined) return 'unclear';
  const { sn } = charter.sealedIn;
  const isAfter =
    isRecordedBefore(proof, charter, charters, evidence) ||
    isProvenAfter(proof, { aid: record.i, sn }, evidence);
  return isAfter ? 'after' : claimedOrder(proof, record.dt);
}

function isRecordedBefore(
  { record, leaves }: TunnelProof,
  { version }: Charter,
  charters: readonly Charter[],
  { dossiers }: Evidence,
): boolean {
  const same = new Set(charters.filter((it) => it.version >= version).map(({ said }) => said));
  return [record.a, record.b].some(({ i, c }) => {
    const index = Math.max(leaves.get(i)?.index ?? 0, c.n);
    return dossiers.get(i)?.log.memberships.some((it) => it.index < index && same.has(it.charter));
  });
}

/** @returns whether none holds, or might */
function checkRevocations(
  end: TunnelEndFields,
  proof: TunnelProof,
  current: Charter,
  evidence: Evidence,
  problems: Problems,
): boolean {
  let isTrusted = true;
  for (const found of evidence.records.revocations()) {
    const { record, sealedIn } = found;
    if (!isAgainst(record, end, proof, evidence) || isReadmitted(found, current, evidence))
      continue;
    const claimed = claimedOrder(proof, record.from);
    // One that holds from a later time on is no reason before it, whatever sealed it when.
    const holdsAtOnce = record.from <= record.dt;
    const place = { aid: record.i, sn: sealedIn.sn };
    const isAfter = claimed === 'after' || (holdsAtOnce && isProvenAfter(proof, place, evidence));
    if (!isAfter && claimed === 'before') continue;
    isTrusted = false;
    const what = `revocation ${record.d} of ${record.k} ${record.who} by ${record.i}`;
    if (isAfter)
      problems.add(
        'BUNDLE_REVOKED',
        'records',
        `${what} holds from ${record.from}, before the tunnel`,
      );
    else problems.add('BUNDLE_ORDER', 'records', `${what} came within a minute of the tunnel`);
  }
  return isTrusted;
}

/** Of this end, by whoever may say it: an organisation of its own epochs and nodes, a governor of organisations. */
function isAgainst(
  { k, who, i, dt }: RvkRecord,
  end: TunnelEndFields,
  { record }: TunnelProof,
  { kels, records }: Evidence,
): boolean {
  const delegator = kels.state(end.i)?.delegator;
  if (k === 'epoch') return who === end.t && (i === end.i || i === delegator);
  if (k === 'node') return who === end.i && i === delegator;
  if (who !== end.i && who !== delegator) return false;
  const charters = records.charters(record.m);
  const then = charters.findLast(({ said }) => (records.get(said)?.record.dt ?? '') <= dt);
  return (then ?? charters[0])?.governors.includes(i) === true;
}

/** A governor has taken the organisation in again: its charter in force was sealed after the revocation and names it. */
function isReadmitted(
  { record, sealedIn }: SealedRevocation,
  current: Charter,
  { records }: Evidence,
): boolean {
  if (record.k !== 'organisation' || !current.members.has(record.who as Aid)) return false;
  const charter = records.get(current.said)?.record;
  if (charter?.i === record.i) return current.sealedIn.sn > sealedIn.sn;
  return (charter?.dt ?? '') > record.dt;
}

/** A log that had recorded a fork of the peer, and no resolution since, has no tunnel to it. */
function checkSuspension(
  { record, leaves }: TunnelProof,
  { dossiers }: Evidence,
  problems: Problems,
): void {
  for (const [own, peer] of [
    [record.a.i, record.b.i],
    [record.b.i, record.a.i],
  ] as const) {
    const index = leaves.get(own)?.index;
    const log = dossiers.get(own)?.log;
    if (index === undefined || log === undefined) continue;
    const last = log.leaves.findLast(
      (item) =>
        item.index < index &&
        (valuesOf('duplicity', item) ?? valuesOf('resolution', item))?.peer === peer,
    );
    if (last?.leaf.type === 'duplicity') {
      const message = `leaf ${last.index} of ${own} records a fork of ${peer}, and leaf ${index} a tunnel to it`;
      problems.add('BUNDLE_TUNNEL', 'leaves', message);
    }
  }
}
