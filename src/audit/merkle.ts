/**
 * Merkle tree of RFC 6962 2.1 over SHA-256: hashes, proofs and their verification (RFC 9162 2.1.3.2, 2.1.4.2).
 *
 * Proofs are described as ranges of leaves, and a range as complete subtrees, so that one description
 * serves hashes in memory and hashes in tiles on disk. Sizes and indices are safe integers.
 */
import { createHash } from 'node:crypto';
import { equalBytes } from '#src/bytes';

/** Leaves `start` (included) to `end` (excluded). */
export interface LeafRange {
  readonly start: number;
  readonly end: number;
}

/** The complete subtree over the leaves from `index * 2^level` on, `2^level` of them. */
export interface Subtree {
  readonly level: number;
  readonly index: number;
}

const leafPrefix = Uint8Array.of(0);
const nodePrefix = Uint8Array.of(1);

/** SHA-256(0x00 ‖ leaf), 32 bytes. */
export function leafHash(leaf: Uint8Array): Uint8Array {
  return createHash('sha256').update(leafPrefix).update(leaf).digest();
}

/** SHA-256(0x01 ‖ left ‖ right), 32 bytes. */
function nodeHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  return createHash('sha256').update(nodePrefix).update(left).update(right).digest();
}

/** Root of the tree without leaves: SHA-256 of the empty string. */
export function emptyRoot(): Uint8Array {
  return createHash('sha256').digest();
}

/** Complete subtrees of `range`, left to right; `range.start` must be a multiple of the largest one (as in every proof). */
export function completeSubtrees(range: LeafRange): readonly Subtree[] {
  const out: Subtree[] = [];
  let start = range.start;
  while (start < range.end) {
    const width = largestPower(range.end - start + 1);
    out.push({ level: Math.log2(width), index: start / width });
    start += width;
  }
  return out;
}

/** Root over consecutive complete subtrees of falling size, left to right; the empty root when there is none. */
export function foldSubtrees(hashes: readonly Uint8Array[]): Uint8Array {
  const last = hashes.at(-1);
  if (last === undefined) return emptyRoot();
  return hashes.slice(0, -1).reduceRight((right, left) => nodeHash(left, right), last);
}

/** Root over the leaf hashes of one complete subtree, a power of two of them. */
export function subtreeRoot(hashes: readonly Uint8Array[]): Uint8Array {
  let row = hashes;
  while (row.length > 1) {
    const next: Uint8Array[] = [];
    for (let i = 0; i + 1 < row.length; i += 2) {
      next.push(nodeHash(row[i] as Uint8Array, row[i + 1] as Uint8Array));
    }
    row = next;
  }
  return row[0] ?? emptyRoot();
}

/** The ranges whose roots are PATH(index, D[size]) of RFC 6962 2.1.1, nearest the leaf first. */
export function inclusionRanges(index: number, size: number): readonly LeafRange[] {
  const path: LeafRange[] = [];
  let start = 0;
  let end = size;
  while (end - start > 1) {
    const middle = start + largestPower(end - start);
    if (index < middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  return path.reverse();
}

/** The ranges whose roots are PROOF(older, D[newer]) of RFC 6962 2.1.2; none when `older` is 0 or equals `newer`. */
export function consistencyRanges(older: number, newer: number): readonly LeafRange[] {
  if (older === 0 || older === newer) return [];
  const path: LeafRange[] = [];
  let start = 0;
  let end = newer;
  while (end !== older) {
    const middle = start + largestPower(end - start);
    if (older <= middle) {
      path.push({ start: middle, end });
      end = middle;
    } else {
      path.push({ start, end: middle });
      start = middle;
    }
  }
  if (start !== 0) path.push({ start, end });
  return path.reverse();
}

/** True when `proof` shows that `leaf` (its 32-byte hash) stands at `index` of the tree of `size` leaves with `root`. */
export function verifyInclusion(
  leaf: Uint8Array,
  index: number,
  size: number,
  proof: readonly Uint8Array[],
  root: Uint8Array,
): boolean {
  if (!isSize(index) || !isSize(size) || index >= size) return false;
  let fn = index;
  let sn = size - 1;
  let hash = leaf;
  for (const sibling of proof) {
    if (sn === 0 || sibling.length !== 32) return false;
    if (fn % 2 === 1 || fn === sn) {
      hash = nodeHash(sibling, hash);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      hash = nodeHash(hash, sibling);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(hash, root);
}

/** True when `proof` shows that the tree of `newer` leaves extends the tree of `older` leaves. */
export function verifyConsistency(
  older: number,
  newer: number,
  olderRoot: Uint8Array,
  newerRoot: Uint8Array,
  proof: readonly Uint8Array[],
): boolean {
  if (!isSize(older) || !isSize(newer) || older > newer) return false;
  if (older === 0 && !equalBytes(olderRoot, emptyRoot())) return false;
  // One size has one root, the empty tree included.
  if (older === newer) return proof.length === 0 && equalBytes(olderRoot, newerRoot);
  if (older === 0) return proof.length === 0;
  const path = largestPower(older + 1) === older ? [olderRoot, ...proof] : [...proof];
  const first = path.shift();
  if (first === undefined || first.length !== 32) return false;
  let fn = older - 1;
  let sn = newer - 1;
  while (fn % 2 === 1) {
    fn = half(fn);
    sn = half(sn);
  }
  let olderHash = first;
  let newerHash = first;
  for (const sibling of path) {
    if (sn === 0 || sibling.length !== 32) return false;
    if (fn % 2 === 1 || fn === sn) {
      olderHash = nodeHash(sibling, olderHash);
      newerHash = nodeHash(sibling, newerHash);
      while (fn % 2 === 0 && fn !== 0) {
        fn = half(fn);
        sn = half(sn);
      }
    } else {
      newerHash = nodeHash(newerHash, sibling);
    }
    fn = half(fn);
    sn = half(sn);
  }
  return sn === 0 && equalBytes(olderHash, olderRoot) && equalBytes(newerHash, newerRoot);
}

/** A growing tree in memory that keeps the root of every complete subtree: two hashes per leaf. */
export class MerkleTree {
  /** `#rows[level][index]` is the root of that complete subtree. */
  readonly #rows: Uint8Array[][] = [[]];

  static of(leaves: Iterable<Uint8Array>): MerkleTree {
    const tree = new MerkleTree();
    for (const leaf of leaves) tree.append(leaf);
    return tree;
  }

  get size(): number {
    return this.leaves.length;
  }

  /** @param leaf 32-byte leaf hash */
  append(leaf: Uint8Array): void {
    let hash = leaf;
    for (let level = 0; ; level++) {
      const row = this.#rows[level] ?? [];
      this.#rows[level] = row;
      row.push(hash);
      if (row.length % 2 === 1) return;
      hash = nodeHash(row.at(-2) as Uint8Array, hash);
    }
  }

  /** The leaf hashes, in order: a view that grows with the tree. */
  get leaves(): readonly Uint8Array[] {
    return this.#rows[0] ?? [];
  }

  /** Root of a complete subtree; undefined when it is not complete yet. */
  subtree({ level, index }: Subtree): Uint8Array | undefined {
    return this.#rows[level]?.[index];
  }

  /** Root of the first `size` leaves; undefined when there are fewer. */
  root(size: number): Uint8Array | undefined {
    if (!isSize(size) || size > this.size) return undefined;
    const subtrees = completeSubtrees({ start: 0, end: size });
    return foldSubtrees(subtrees.map((subtree) => this.subtree(subtree) as Uint8Array));
  }
}

/** The largest power of two strictly below `n`; `n` is at least 2. */
function largestPower(n: number): number {
  let power = 1;
  while (power * 2 < n) power *= 2;
  return power;
}

function half(n: number): number {
  return Math.floor(n / 2);
}

function isSize(n: number): boolean {
  return Number.isSafeInteger(n) && n >= 0;
}
