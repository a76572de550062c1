/** Export: what one organisation puts on the table, signed with the keys of its key event log. */

import { encodeIndexedSignature, type IndexedSignatureInput } from '#kel/cesr/indexer';
import type { Aid } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { formatDateTime } from '#src/clock';
import { sha256 } from '#src/crypto/hash';
import {
  encodeBundle,
  encodeDossier,
  encodeHeader,
  encodeSignature,
  sectionDigests,
  signedBytes,
} from './bundle.ts';
import type { Openings } from './leaf.ts';
import { encodeSections, type KelStream, type LeafEvidence, type Sections } from './sections.ts';

/** The part of `AuditLog` that an export reads. */
export interface LogSource {
  leaf(index: number): Promise<Uint8Array>;
  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]>;
  consistencyProof(older: number, newer: number): Promise<readonly Uint8Array[]>;
}

export interface DossierSources {
  readonly aid: Aid;
  /** The establishment event whose keys sign the dossier. */
  readonly establishment: EventReference;
  readonly latest: EventReference;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Own log and those of peers, governors and delegators that the records name. */
  readonly kels: readonly KelStream[];
  /** Signed messages of the records that the leaves refer to: `log`, `chr` back to version 0, `tun` of both ends. */
  readonly records: readonly Uint8Array[];
  /** Every signed checkpoint that was anchored, at least; leaves up to the largest are exported. */
  readonly checkpoints: readonly string[];
  readonly log: LogSource;
  /** What to open of leaf `index`; an empty map keeps it closed. */
  readonly openings: (index: number) => Openings;
}

/**
 * A bundle with one dossier.
 * @param sign signatures over the message, by the keys of `sources.establishment`
 */
export async function buildDossier(
  sources: DossierSources,
  sign: (message: Uint8Array) => Promise<readonly IndexedSignatureInput[]>,
): Promise<Uint8Array> {
  const sections = encodeSections(await gather(sources));
  const { aid, establishment, latest } = sources;
  const time = formatDateTime(sources.now);
  const header = encodeHeader({
    aid,
    establishment,
    latest,
    time,
    digests: sectionDigests(sections),
  });
  const statement = { headerDigest: sha256(header), aid, establishment };
  const signatures = (await sign(signedBytes(statement))).map(encodeIndexedSignature);
  const signature = encodeSignature({ ...statement, signatures });
  return encodeBundle([encodeDossier({ header, sections, signature })]);
}

async function gather(sources: DossierSources): Promise<Sections> {
  const checkpoints = sources.checkpoints
    .map((note) => ({ note, size: checkpointOfNote(note).size }))
    .sort((a, b) => a.size - b.size);
  const sizes = checkpoints.map(({ size }) => size);
  return {
    kels: sources.kels.toSorted((a, b) => (a.aid < b.aid ? -1 : 1)),
    records: sources.records,
    checkpoints: checkpoints.map(({ note }) => note),
    leaves: await gatherLeaves(sources, sizes.at(-1) ?? 0),
    proofs: await gatherProofs(sources.log, sizes),
  };
}

async function gatherLeaves(
  sources: DossierSources,
  size: number,
): Promise<readonly LeafEvidence[]> {
  const leaves: LeafEvidence[] = [];
  for (let index = 0; index < size; index++) {
    leaves.push({ index, leaf: await sources.log.leaf(index), openings: sources.openings(index) });
  }
  return leaves;
}

/** Each leaf in the first checkpoint that counts it, each checkpoint in the next. */
async function gatherProofs(log: LogSource, sizes: readonly number[]): Promise<Sections['proofs']> {
  const inclusion: Sections['proofs']['inclusion'][number][] = [];
  const consistency: Sections['proofs']['consistency'][number][] = [];
  let older = 0;
  for (const size of sizes) {
    for (let index = older; index < size; index++) {
      inclusion.push({ index, size, hashes: await log.inclusionProof(index, size) });
    }
    if (older > 0 && older < size) {
      consistency.push({ older, newer: size, hashes: await log.consistencyProof(older, size) });
    }
    older = size;
  }
  return { inclusion, consistency };
}
