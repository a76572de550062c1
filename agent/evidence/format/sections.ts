/**
 * What stands in the sections of a dossier. Long lists are paged: a list of byte strings, each the CBOR of a
 * list of up to 256 items.
 */

import type { Aid } from '#kel/identifiers';
import { type CborValue, decodeCbor, encodeCbor } from '#src/cbor';
import { reading, type SectionName, shared } from './bundle.ts';
import type { Openings } from './leaf.ts';
import { decodeOpenings, openingsToCbor } from './openings.ts';
import { asAid, asBytes, asInteger, asList, asText, ShapeError } from './shape.ts';

const pageLength = 256;

/** A key event log as a CESR stream. */
export interface KelStream {
  readonly aid: Aid;
  readonly stream: Uint8Array;
}

export interface LeafEvidence {
  readonly index: number;
  readonly leaf: Uint8Array;
  /** The opened fields; none for a leaf that stays closed. */
  readonly openings: Openings;
}

export interface InclusionProof {
  readonly index: number;
  readonly size: number;
  readonly hashes: readonly Uint8Array[];
}

export interface ConsistencyProof {
  readonly older: number;
  readonly newer: number;
  readonly hashes: readonly Uint8Array[];
}

/** One dossier's evidence, decoded; nothing is verified. */
export interface Sections {
  /** By AID, ascending. */
  readonly kels: readonly KelStream[];
  /** Signed record messages. */
  readonly records: readonly Uint8Array[];
  /** Signed notes, by size ascending. */
  readonly checkpoints: readonly string[];
  /** By index, ascending. */
  readonly leaves: readonly LeafEvidence[];
  readonly proofs: {
    readonly inclusion: readonly InclusionProof[];
    readonly consistency: readonly ConsistencyProof[];
  };
}

export function encodeSections(sections: Sections): Readonly<Record<SectionName, Uint8Array>> {
  const { inclusion, consistency } = sections.proofs;
  return {
    kels: encodeCbor(sections.kels.map(({ aid, stream }) => [aid, stream])),
    records: encodeCbor(paged(sections.records)),
    checkpoints: encodeCbor(paged(sections.checkpoints)),
    leaves: encodeCbor(
      paged(
        sections.leaves.map(({ index, leaf, openings }) => [index, leaf, openingsToCbor(openings)]),
      ),
    ),
    proofs: encodeCbor([
      paged(inclusion.map(({ index, size, hashes }) => [index, size, hashes])),
      paged(consistency.map(({ older, newer, hashes }) => [older, newer, hashes])),
    ]),
  };
}

/** @throws BUNDLE_SECTION */
export function decodeKels(bytes: Uint8Array): Sections['kels'] {
  return reading('BUNDLE_SECTION', () => {
    const kels = asList(decodeCbor(bytes, shared), 'kels').map((item) => {
      const [aid, stream] = asList(item, 'kel', 2);
      return { aid: asAid(aid, 'AID'), stream: asBytes(stream, 'stream') };
    });
    requireAscending(
      kels.map(({ aid }) => aid),
      'kels',
    );
    return kels;
  });
}

/** @throws BUNDLE_SECTION */
export function decodeRecords(bytes: Uint8Array): Sections['records'] {
  return reading('BUNDLE_SECTION', () =>
    unpaged(decodeCbor(bytes, shared), 'records').map((item) => asBytes(item, 'record')),
  );
}

/** @throws BUNDLE_SECTION */
export function decodeCheckpoints(bytes: Uint8Array): Sections['checkpoints'] {
  return reading('BUNDLE_SECTION', () =>
    unpaged(decodeCbor(bytes, shared), 'checkpoints').map((item) => asText(item, 'checkpoint')),
  );
}

/** @throws BUNDLE_SECTION */
export function decodeLeaves(bytes: Uint8Array): Sections['leaves'] {
  return reading('BUNDLE_SECTION', () => {
    const leaves = unpaged(decodeCbor(bytes, shared), 'leaves').map((item) => {
      const [index, leaf, openings] = asList(item, 'leaf', 3);
      return {
        index: asInteger(index, 'index'),
        leaf: asBytes(leaf, 'leaf'),
        openings: decodeOpenings(openings),
      };
    });
    requireAscending(
      leaves.map(({ index }) => index),
      'leaves',
    );
    return leaves;
  });
}

/** @throws BUNDLE_SECTION */
export function decodeProofs(bytes: Uint8Array): Sections['proofs'] {
  return reading('BUNDLE_SECTION', () => {
    const [inclusion, consistency] = asList(decodeCbor(bytes, shared), 'proofs', 2);
    return {
      inclusion: unpaged(inclusion, 'inclusion proofs').map((item) => {
        const [index, size, hashes] = asList(item, 'proof', 3);
        return {
          index: asInteger(index, 'index'),
          size: asInteger(size, 'size'),
          hashes: asHashes(hashes),
        };
      }),
      consistency: unpaged(consistency, 'consistency proofs').map((item) => {
        const [older, newer, hashes] = asList(item, 'proof', 3);
        return {
          older: asInteger(older, 'size'),
          newer: asInteger(newer, 'size'),
          hashes: asHashes(hashes),
        };
      }),
    };
  });
}

function asHashes(value: CborValue | undefined): readonly Uint8Array[] {
  return asList(value, 'hashes').map((hash) => asBytes(hash, 'hash', 32));
}

function paged(items: readonly CborValue[]): readonly Uint8Array[] {
  const pages: Uint8Array[] = [];
  for (let at = 0; at < items.length; at += pageLength)
    pages.push(encodeCbor(items.slice(at, at + pageLength)));
  return pages;
}

/** Every page but the last is full, and the last is not empty: one list has one form. */
function unpaged(value: CborValue | undefined, at: string): readonly CborValue[] {
  const pages = asList(value, at).map((page) => asList(decodeCbor(asBytes(page, at), shared), at));
  for (const [i, page] of pages.entries()) {
    if (
      page.length === 0 ||
      page.length > pageLength ||
      (page.length < pageLength && i < pages.length - 1)
    ) {
      throw new ShapeError(`${at}: page ${i} has ${page.length} items`);
    }
  }
  return pages.flat();
}

function requireAscending(keys: readonly (string | number)[], at: string): void {
  for (let i = 1; i < keys.length; i++) {
    if ((keys[i - 1] as string | number) >= (keys[i] as string | number))
      throw new ShapeError(`${at}: not in ascending order at ${i}`);
  }
}
