/**
 * The auditor: takes the bytes of an evidence bundle and nothing else, on a machine that has never seen the mesh.
 *
 * dossiers (digests) → key event logs → signatures → records → audit logs → tunnels
 */

import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Aid, Said } from '#kel/identifiers';
import type { TupRecord, Verified } from '#kel/record/record';
import type { VerifySignature } from '#kel/state/key-signatures';
import type { Ed25519 } from '#src/crypto/suite';
import { decodeBundle } from '../format/bundle.ts';
import type { LeafValues } from '../format/leaf.ts';
import { checkLog } from './check-log.ts';
import { isSigned, type ReadDossier, readDossier } from './dossier-evidence.ts';
import type { CheckedDossier, Evidence } from './evidence.ts';
import { reportForkClaims } from './fork-claims.ts';
import { KelEvidence } from './kel-evidence.ts';
import { type CheckedLeaf, valuesOf } from './log-evidence.ts';
import { RecordEvidence } from './record-evidence.ts';
import { type AuditReport, type OrganisationRow, Problems, type TunnelRow } from './report.ts';
import { checkTunnel } from './tunnel-evidence.ts';
import { verdictOf } from './verdict.ts';

export interface VerifyBundleDeps {
  /** `createSignatureVerifier` of `kel/verify`. */
  readonly verifySignature: VerifySignature;
}

/** @param bytes attacker-controlled  @returns the report; never rejects for what the bundle holds */
export async function verifyBundle(
  bytes: Uint8Array,
  deps: VerifyBundleDeps,
): Promise<AuditReport> {
  const problems = new Problems();
  const read = readDossiers(bytes, deps, problems);
  const kels = new KelEvidence(
    read.map(({ sections, problems: own }) => ({ kels: sections.kels, problems: own })),
    deps.verifySignature,
    problems,
  );
  const dossiers = read.filter((dossier) => checkExporter(dossier, kels, deps));
  const records = new RecordEvidence(kels, deps.verifySignature);
  for (const dossier of dossiers) {
    for (const [i, message] of dossier.sections.records.entries()) {
      await records.add(message, 'records', `record ${i}`, dossier.problems);
    }
  }
  const checked = new Map(
    dossiers.map((dossier) => [dossier.header.aid, checkDossier(dossier, kels, records, deps)]),
  );
  const evidence: Evidence = { kels, records, dossiers: checked };
  const tunnels = await checkTunnels(evidence, problems);
  checkCharters(evidence, problems);
  reportForkClaims(records.tunnelProofs(), evidence);
  // Where something else is wrong, that is the reason.
  if (tunnels.length === 0 && problems.list.length === 0)
    problems.add('BUNDLE_NO_TUNNEL', 'leaves', 'no leaf here holds a tunnel proof');
  return {
    schema: 'kelmesh.audit/1',
    verdict: verdictOf({ problems: problems.list, tunnels }),
    tunnelCount: tunnels.length,
    tunnels,
    organisations: dossiers.map((dossier) => organisationRow(dossier, evidence)),
    problems: problems.list,
  };
}

/** A sealed charter that is no version of the chain could have removed an end: it is not passed over. */
function checkCharters({ records }: Evidence, problems: Problems): void {
  const meshes = new Set(records.tunnelProofs().map(({ m }) => m));
  for (const mesh of meshes) {
    const chain = new Map(records.charters(mesh).map((charter) => [charter.said, charter]));
    for (const { d, i, n, p } of records.chartersBeside(mesh)) {
      if (p !== '' && records.get(p)?.sealedIn === undefined)
        problems.add('BUNDLE_RECORD_MISSING', 'records', `charter ${p} or its seal is not here`);
      else if (p !== '' && chain.get(p)?.governors.includes(i) === true) {
        const message = `${i} sealed two versions ${n} of the charter of ${mesh}: ${d} is the later one`;
        problems.add('BUNDLE_CHARTER', 'records', message);
      }
    }
  }
}

function readDossiers(
  bytes: Uint8Array,
  { verifySignature }: VerifyBundleDeps,
  problems: Problems,
): readonly ReadDossier[] {
  let encoded: readonly Uint8Array[];
  try {
    encoded = decodeBundle(bytes);
  } catch (error) {
    problems.add('BUNDLE_ENVELOPE', 'envelope', (error as Error).message);
    return [];
  }
  const byExporter = new Map<Aid, ReadDossier>();
  for (const [i, dossier] of encoded.entries()) {
    const read = readDossier(dossier, i, verifySignature, problems);
    if (read === undefined) continue;
    if (byExporter.has(read.header.aid)) {
      read.problems.add(
        'BUNDLE_DUPLICATE_DOSSIER',
        'envelope',
        `dossier ${i} is the second of this organisation`,
      );
    } else byExporter.set(read.header.aid, read);
  }
  return [...byExporter.values()];
}

/** Whether the keys of the exporter signed, those in force at the event up to which it exports. */
function checkExporter(
  { header, signature, problems }: ReadDossier,
  kels: KelEvidence,
  { verifySignature }: VerifyBundleDeps,
): boolean {
  const { aid, establishment, latest } = header;
  if (!isSigned(signature, kels, verifySignature)) {
    const message = `no valid signature under event ${establishment.sn} of ${aid}`;
    problems.add('BUNDLE_SIGNATURE', 'signature', message);
    return false;
  }
  const events = kels.events(aid).filter(({ sn }) => sn <= latest.sn);
  if (events.at(-1)?.said !== latest.said) {
    problems.add(
      'BUNDLE_KEL',
      'kels',
      `the log of ${aid} has no event ${latest.sn} ${latest.said}`,
    );
    return false;
  }
  const inForce = events.findLast((event) => event.type !== 'ixn');
  if (inForce?.said === establishment.said) return true;
  const message = `signed with the keys of event ${establishment.sn}, event ${inForce?.sn} was in force`;
  problems.add('BUNDLE_SIGNATURE', 'signature', message);
  return false;
}

function checkDossier(
  { header, sections, problems }: ReadDossier,
  kels: KelEvidence,
  records: RecordEvidence,
  { verifySignature }: VerifyBundleDeps,
): CheckedDossier {
  const { aid, latest, time } = header;
  // A peer's copy of the key event log may be newer than this export.
  const events = kels.events(aid).filter(({ sn }) => sn <= latest.sn);
  const announcements = records.announcements(aid);
  const log = checkLog(
    { aid, sections, announcements, events },
    noteVerifier(verifySignature),
    problems,
  );
  return { aid, time, log, problems };
}

/** Log keys are Ed25519 as in notes; the verifier of key events speaks of keys in qb64. */
function noteVerifier(verifySignature: VerifySignature): Pick<Ed25519, 'verify'> {
  return {
    verify: (signature, message, publicKey) =>
      verifySignature(encodeVerificationKey('ed25519', publicKey, false), signature, message),
  };
}

async function checkTunnels(evidence: Evidence, problems: Problems): Promise<readonly TunnelRow[]> {
  const leaves = new Map<Said, Map<Aid, CheckedLeaf>>();
  for (const dossier of evidence.dossiers.values()) {
    for (const leaf of dossier.log.leaves) {
      const record =
        leaf.leaf.type === 'tunnel-up' ? await readTunnelLeaf(leaf, dossier, evidence) : undefined;
      if (record === undefined) continue;
      const logged = leaves.get(record.d) ?? new Map<Aid, CheckedLeaf>();
      if (!logged.has(dossier.aid)) logged.set(dossier.aid, leaf);
      leaves.set(record.d, logged);
    }
  }
  return evidence.records
    .tunnelProofs()
    .toSorted((x, y) => (x.dt === y.dt ? (x.d < y.d ? -1 : 1) : x.dt < y.dt ? -1 : 1))
    .map((record) => {
      const proof = { record, leaves: leaves.get(record.d) ?? new Map<Aid, CheckedLeaf>() };
      return checkTunnel(proof, evidence, problems.at(`tunnel ${record.d}`));
    });
}

/** The proof in a `tunnel-up` leaf, when the leaf is open, the proof verifies, and both say the same. */
async function readTunnelLeaf(
  leaf: CheckedLeaf,
  { aid, problems }: CheckedDossier,
  { records }: Evidence,
): Promise<Verified<TupRecord> | undefined> {
  const { index } = leaf;
  const values = valuesOf('tunnel-up', leaf);
  if (values === undefined) {
    problems.add('BUNDLE_NOT_OPENED', 'leaves', `leaf ${index} records a tunnel and is not opened`);
    return undefined;
  }
  const record = await records.add(values.proof, 'leaves', `leaf ${index}`, problems);
  if (record === undefined) return undefined;
  if (record.t !== 'tup' || !saysTheSame(values, record, aid)) {
    problems.add(
      'BUNDLE_TUNNEL',
      'leaves',
      `leaf ${index} says something else than the proof that it holds`,
    );
    return undefined;
  }
  return record as Verified<TupRecord>;
}

function saysTheSame(values: LeafValues['tunnel-up'], record: TupRecord, aid: Aid): boolean {
  const [own, peer] = record.a.i === aid ? [record.a, record.b] : [record.b, record.a];
  return (
    own.i === aid &&
    peer.i === values.peer &&
    record.ep === values.epoch &&
    record.lv === values.level &&
    own.hs === values.handshake
  );
}

function organisationRow(
  { header, sections }: ReadDossier,
  { kels, records, dossiers }: Evidence,
): OrganisationRow {
  const { aid, latest } = header;
  const log = dossiers.get(aid)?.log;
  const name = records.nameOf(aid);
  const state = kels.state(aid);
  return {
    aid,
    ...(name === undefined ? {} : { name }),
    sn: state?.sn ?? latest.sn,
    said: state?.said ?? latest.said,
    leaves: sections.leaves.length,
    checkpointSize: log?.size ?? 0,
    anchored: log?.isAnchored ?? false,
    superseded: kels.superseded(aid),
  };
}
