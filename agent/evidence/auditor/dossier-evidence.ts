/**
 * The integrity of one dossier: which part is not the one that the exporter signed.
 *
 * Digests lead from the signature to the header and from there to the sections, so a change is named where
 * it is. Only when the header does not fit its digest is the signature needed to tell which of the two changed.
 */

import { decodeIndexedSignature } from '#kel/cesr/indexer';
import type { VerifySignature } from '#kel/state/key-signatures';
import { verifyKeySignatures } from '#kel/state/key-signatures';
import { equalBytes } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import {
  type DossierHeader,
  type DossierParts,
  type DossierSignature,
  decodeDossier,
  decodeHeader,
  decodeSignature,
  sectionDigests,
  sectionNames,
  signedBytes,
} from '../format/bundle.ts';
import {
  decodeCheckpoints,
  decodeKels,
  decodeLeaves,
  decodeProofs,
  decodeRecords,
  type Sections,
} from '../format/sections.ts';
import { KelEvidence } from './kel-evidence.ts';
import { type ProblemSection, Problems } from './report.ts';

export interface ReadDossier {
  readonly header: DossierHeader;
  readonly signature: DossierSignature;
  readonly sections: Sections;
  readonly problems: Problems;
}

/** The dossier when all its digests fit; what does not is reported. The signature is still to be checked. */
export function readDossier(
  bytes: Uint8Array,
  index: number,
  verifySignature: VerifySignature,
  list: Problems,
): ReadDossier | undefined {
  const unnamed = list.at(`dossier ${index}`);
  const parts = attempt('dossier', unnamed, () => decodeDossier(bytes));
  if (parts === undefined) return undefined;
  const header = attempt('header', unnamed, () => decodeHeader(parts.header));
  const signature = attempt('signature', unnamed, () => decodeSignature(parts.signature));
  if (header === undefined || signature === undefined) return undefined;
  const problems = list.at(`dossier of ${header.aid}`);
  if (!checkDigests(parts, header, signature, verifySignature, problems)) return undefined;
  const sections = readSections(parts, problems);
  return sections === undefined ? undefined : { header, signature, sections, problems };
}

/** True when every signature is valid, together they meet the threshold, and they speak of this header. */
export function isSigned(
  signature: DossierSignature,
  kels: Pick<KelEvidence, 'establishment'>,
  verifySignature: VerifySignature,
): boolean {
  const { aid, establishment } = signature;
  const keys = kels.establishment(aid, establishment.sn, establishment.said);
  if (keys === undefined) return false;
  try {
    const signatures = signature.signatures.map(decodeIndexedSignature);
    const { valid, isSatisfied } = verifyKeySignatures(
      verifySignature,
      keys.keys,
      keys.signingThreshold,
      signedBytes(signature),
      signatures,
    );
    return isSatisfied && valid.length === signatures.length;
  } catch {
    return false;
  }
}

function checkDigests(
  parts: DossierParts,
  header: DossierHeader,
  signature: DossierSignature,
  verifySignature: VerifySignature,
  problems: Problems,
): boolean {
  if (!equalBytes(sha256(parts.header), signature.headerDigest) || !sameSigner(header, signature)) {
    const kels = attempt('kels', new Problems(), () => decodeKels(parts.sections.kels)) ?? [];
    const alone = new KelEvidence(
      [{ kels, problems: new Problems() }],
      verifySignature,
      new Problems(),
    );
    if (isSigned(signature, alone, verifySignature)) {
      problems.add('BUNDLE_CHANGED', 'header', 'the header is not the one that was signed');
    } else
      problems.add('BUNDLE_SIGNATURE', 'signature', 'the signature is not one over this dossier');
    return false;
  }
  const digests = sectionDigests(parts.sections);
  const changed = sectionNames.filter(
    (_, i) => !equalBytes(digests[i] as Uint8Array, header.digests[i] as Uint8Array),
  );
  for (const name of changed)
    problems.add('BUNDLE_CHANGED', name, `section ${name} is not the one that was signed`);
  return changed.length === 0;
}

function sameSigner(header: DossierHeader, { aid, establishment }: DossierSignature): boolean {
  return (
    header.aid === aid &&
    header.establishment.sn === establishment.sn &&
    header.establishment.said === establishment.said
  );
}

function readSections({ sections }: DossierParts, problems: Problems): Sections | undefined {
  const kels = attempt('kels', problems, () => decodeKels(sections.kels));
  const records = attempt('records', problems, () => decodeRecords(sections.records));
  const checkpoints = attempt('checkpoints', problems, () =>
    decodeCheckpoints(sections.checkpoints),
  );
  const leaves = attempt('leaves', problems, () => decodeLeaves(sections.leaves));
  const proofs = attempt('proofs', problems, () => decodeProofs(sections.proofs));
  if (!kels || !records || !checkpoints || !leaves || !proofs) return undefined;
  return { kels, records, checkpoints, leaves, proofs };
}

/** The result of `read`; what it throws is reported for `section`. */
function attempt<T>(section: ProblemSection, problems: Problems, read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    const code =
      section === 'dossier' || section === 'header' || section === 'signature'
        ? 'BUNDLE_DOSSIER'
        : 'BUNDLE_SECTION';
    problems.add(code, section, (error as Error).message);
    return undefined;
  }
}
