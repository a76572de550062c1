/**
 * The evidence bundle: one file with one dossier per organisation that exported.
 *
 *   bundle    = CBOR ["kelmesh.evidence/1", [dossier bytes, …]]
 *   dossier   = CBOR ["kelmesh.dossier/1", header, kels, records, checkpoints, leaves, proofs, signature], each a byte string
 *   header    = CBOR {i: AID, s, d: establishment event, ls, ld: latest event, dt: time, h: [SHA-256 of each section]}
 *   signature = CBOR {h: SHA-256 of the header, i, s, d: as in the header, sig: [indexed signature, …]}
 *
 * Signed is label "dossier" over h, i, s, d of the signature part. So every byte is covered by a digest that a
 * signature covers, or by the strict form of the envelope, and a change is found in the part that it is in.
 */

import type { Aid } from '#kel/identifiers';
import type { EventReference } from '#kel/key-state/key-state';
import { equalBytes } from '#src/bytes';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import { parseDateTime } from '#src/clock';
import { sha256 } from '#src/crypto/hash';
import { dossierLabel } from '#src/crypto/labels';
import { ProvenanceError } from './errors.ts';
import { asAid, asBytes, asInteger, asList, asMap, asSaid, asText, ShapeError } from './shape.ts';

/** A bundle is held once, whatever is decoded of it. */
export const shared = { sharesBytes: true } as const;

const bundleVersion = 'kelmesh.evidence/1';
const dossierVersion = 'kelmesh.dossier/1';
/** Longest bundle that is read, in bytes: some two million leaves. It is held in memory once, and what is decoded of it refers to it. */
export const MAX_BUNDLE_BYTES = 512 << 20;
const maxDossiers = 4096;
const maxSignatures = 64;

export const sectionNames = ['kels', 'records', 'checkpoints', 'leaves', 'proofs'] as const;

export type SectionName = (typeof sectionNames)[number];

/** The encoded parts of a dossier. */
export interface DossierParts {
  readonly header: Uint8Array;
  readonly sections: Readonly<Record<SectionName, Uint8Array>>;
  readonly signature: Uint8Array;
}

export interface DossierHeader {
  readonly aid: Aid;
  /** The establishment event whose keys sign. */
  readonly establishment: EventReference;
  /** The last event of the exporter's log at export. */
  readonly latest: EventReference;
  /** Date-time of the export: a claim of the exporter. */
  readonly time: string;
  /** SHA-256 of each section, in the order of {@link sectionNames}. */
  readonly digests: readonly Uint8Array[];
}

export interface DossierSignature {
  /** SHA-256 of the header part. */
  readonly headerDigest: Uint8Array;
  readonly aid: Aid;
  readonly establishment: EventReference;
  /** Indexed signatures, qb64. */
  readonly signatures: readonly string[];
}

/** The bytes that the exporter's keys sign. */
export function signedBytes({
  headerDigest,
  aid,
  establishment,
}: Omit<DossierSignature, 'signatures'>): Uint8Array {
  const { sn, said } = establishment;
  return dossierLabel(headerDigest, aid, sn, said);
}

export function sectionDigests(sections: DossierParts['sections']): readonly Uint8Array[] {
  return sectionNames.map((name) => sha256(sections[name]));
}

export function encodeBundle(dossiers: readonly Uint8Array[]): Uint8Array {
  return encodeCbor([bundleVersion, dossiers]);
}

/** The encoded dossiers; nothing in them is verified. @throws BUNDLE_ENVELOPE */
export function decodeBundle(bytes: Uint8Array): readonly Uint8Array[] {
  return reading('BUNDLE_ENVELOPE', () => {
    const [version, dossiers] = asList(decodeCbor(bytes, shared), 'bundle', 2);
    requireVersion(version, bundleVersion);
    const list = asList(dossiers, 'dossiers');
    if (list.length === 0 || list.length > maxDossiers) {
      throw new ShapeError(`dossiers: expected 1 to ${maxDossiers}, got ${list.length}`);
    }
    return list.map((item, i) => asBytes(item, `dossier ${i}`));
  });
}

/**
 * One bundle with the dossiers of all, each once, in the order given.
 * @throws BUNDLE_ENVELOPE, BUNDLE_DOSSIER, and BUNDLE_DUPLICATE_DOSSIER when two differ for one organisation
 */
export function mergeBundles(bundles: readonly Uint8Array[]): Uint8Array {
  const byExporter = new Map<Aid, Uint8Array>();
  for (const dossier of bundles.flatMap(decodeBundle)) {
    const { aid } = decodeHeader(decodeDossier(dossier).header);
    const known = byExporter.get(aid);
    if (known !== undefined && !equalBytes(known, dossier)) {
      throw new ProvenanceError('BUNDLE_DUPLICATE_DOSSIER', `two different dossiers of ${aid}`);
    }
    byExporter.set(aid, dossier);
  }
  return encodeBundle([...byExporter.values()]);
}

export function encodeDossier({ header, sections, signature }: DossierParts): Uint8Array {
  return encodeCbor([
    dossierVersion,
    header,
    ...sectionNames.map((name) => sections[name]),
    signature,
  ]);
}

/** @throws BUNDLE_DOSSIER */
export function decodeDossier(bytes: Uint8Array): DossierParts {
  return reading('BUNDLE_DOSSIER', () => {
    const [version, ...parts] = asList(
      decodeCbor(bytes, shared),
      'dossier',
      sectionNames.length + 3,
    );
    requireVersion(version, dossierVersion);
    const [header, kels, records, checkpoints, leaves, proofs, signature] = parts.map((part, i) =>
      asBytes(part, `part ${i}`),
    ) as [Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array, Uint8Array];
    return { header, sections: { kels, records, checkpoints, leaves, proofs }, signature };
  });
}

export function encodeHeader(header: DossierHeader): Uint8Array {
  return encodeCbor(
    new Map<string, CborValue>([
      ['i', header.aid],
      ['s', header.establishment.sn],
      ['d', header.establishment.said],
      ['ls', header.latest.sn],
      ['ld', header.latest.said],
      ['dt', header.time],
      ['h', header.digests],
    ]),
  );
}

/** @throws BUNDLE_DOSSIER */
export function decodeHeader(bytes: Uint8Array): DossierHeader {
  return reading('BUNDLE_DOSSIER', () => {
    const map = asMap(decodeCbor(bytes, shared), 'header', 'i', 's', 'd', 'ls', 'ld', 'dt', 'h');
    const time = asText(map.get('dt'), 'header time');
    if (parseDateTime(time) === undefined)
      throw new ShapeError(`header time: not a date-time: ${time.slice(0, 50)}`);
    const digests = asList(map.get('h'), 'header digests', sectionNames.length);
    return {
      aid: asAid(map.get('i'), 'header AID'),
      establishment: asEvent(map, 's', 'd'),
      latest: asEvent(map, 'ls', 'ld'),
      time,
      digests: digests.map((digest) => asBytes(digest, 'header digest', 32)),
    };
  });
}

export function encodeSignature(signature: DossierSignature): Uint8Array {
  return encodeCbor(
    new Map<string, CborValue>([
      ['h', signature.headerDigest],
      ['i', signature.aid],
      ['s', signature.establishment.sn],
      ['d', signature.establishment.said],
      ['sig', signature.signatures],
    ]),
  );
}

/** @throws BUNDLE_DOSSIER */
export function decodeSignature(bytes: Uint8Array): DossierSignature {
  return reading('BUNDLE_DOSSIER', () => {
    const map = asMap(decodeCbor(bytes, shared), 'signature', 'h', 'i', 's', 'd', 'sig');
    const signatures = asList(map.get('sig'), 'signatures');
    if (signatures.length === 0 || signatures.length > maxSignatures) {
      throw new ShapeError(`signatures: expected 1 to ${maxSignatures}, got ${signatures.length}`);
    }
    return {
      headerDigest: asBytes(map.get('h'), 'signature digest', 32),
      aid: asAid(map.get('i'), 'signature AID'),
      establishment: asEvent(map, 's', 'd'),
      signatures: signatures.map((signature) => asText(signature, 'signature')),
    };
  });
}

/** Runs a reader; what it refuses becomes an error of `code`. */
export function reading<T>(
  code: 'BUNDLE_ENVELOPE' | 'BUNDLE_DOSSIER' | 'BUNDLE_SECTION',
  read: () => T,
): T {
  try {
    return read();
  } catch (cause) {
    throw new ProvenanceError(code, cause instanceof Error ? cause.message : 'not readable', {
      cause,
    });
  }
}

function asEvent(map: ReadonlyMap<string, CborValue>, sn: string, said: string): EventReference {
  return { sn: asInteger(map.get(sn), sn), said: asSaid(map.get(said), said) };
}

function requireVersion(value: CborValue | undefined, expected: string): void {
  if (value !== expected)
    throw new ShapeError(`expected ${expected}, got ${String(value).slice(0, 50)}`);
}
