/**
 * The hashes of a growing log: full tiles stand in files, the unfinished tile of each level in memory.
 * Level l of the tiles holds the roots of the full tiles of level l - 1.
 */
import { AuditError } from './errors.ts';
import type { LogFiles } from './log-files.ts';
import {
  completeSubtrees,
  foldSubtrees,
  type LeafRange,
  leafHash,
  MerkleTree,
  type Subtree,
  subtreeRoot,
} from './merkle.ts';
import { decodeTile, tilePath, tileWidth } from './tile.ts';

const cachedTiles = 64;

/** A tile that became full: its path is `tilePath(level, index)`. */
export interface FullTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: readonly Uint8Array[];
}

export class TileTree {
  readonly #files: LogFiles;
  /** The unfinished tile of each level. Replaced, never emptied, when it is full: a reader may hold it. */
  #partial: MerkleTree[] = [new MerkleTree()];
  #full: number[] = [0];
  readonly #cache = new Map<string, MerkleTree>();

  constructor(files: LogFiles) {
    this.#files = files;
  }

  /** Leaves in full tiles and in the unfinished one. */
  get size(): number {
    return (this.#full[0] ?? 0) * tileWidth + (this.#partial[0]?.size ?? 0);
  }

  /** Room in the unfinished leaf tile, 1 to 256; 0 when it is full and {@link fullTiles} is due. */
  get room(): number {
    return tileWidth - (this.#partial[0]?.size ?? 0);
  }

  add(leaf: Uint8Array): void {
    this.#partial[0]?.append(leafHash(leaf));
  }

  /** The tiles that the full leaf tile completes, lowest level first; nothing changes until {@link retire}. */
  fullTiles(): readonly FullTile[] {
    const tiles: FullTile[] = [];
    for (let level = 0; ; level++) {
      const below = tiles.at(-1);
      const hashes = [...(this.#partial[level]?.leaves ?? [])];
      if (below !== undefined) hashes.push(subtreeRoot(below.hashes));
      if (hashes.length < tileWidth) return tiles;
      tiles.push({ level, index: this.#full[level] ?? 0, hashes });
    }
  }

  /** Takes tiles that now stand in files out of memory. */
  retire(tiles: readonly FullTile[]): void {
    for (const { level, hashes } of tiles) {
      this.#partial[level] = new MerkleTree();
      this.#full[level] = (this.#full[level] ?? 0) + 1;
      this.#partial[level + 1] ??= new MerkleTree();
      this.#full[level + 1] ??= 0;
      if (tiles.length === level + 1) this.#partial[level + 1]?.append(subtreeRoot(hashes));
    }
  }

  /** Root of the leaves in `range`. @throws AUDIT_CORRUPT when a tile is missing or not a tile */
  async rangeRoot(range: LeafRange): Promise<Uint8Array> {
    const hashes: Uint8Array[] = [];
    for (const subtree of completeSubtrees(range)) hashes.push(await this.#subtreeRoot(subtree));
    return foldSubtrees(hashes);
  }

  /** The 32-byte hash of leaf `index`. */
  leaf(index: number): Promise<Uint8Array> {
    return this.#subtreeRoot({ level: 0, index });
  }

  async #subtreeRoot({ level, index }: Subtree): Promise<Uint8Array> {
    const tileLevel = Math.floor(level / 8);
    const perTile = tileWidth / 2 ** (level % 8);
    const tile = await this.#tile(tileLevel, Math.floor(index / perTile));
    const root = tile.subtree({ level: level % 8, index: index % perTile });
    if (root !== undefined) return root;
    if (level === 0) throw new AuditError('AUDIT_CORRUPT', `no hash of leaf ${index}`);
    // While a full tile is being written, its root is not in the level above yet.
    const [left, right] = [2 * index, 2 * index + 1].map((child) =>
      this.#subtreeRoot({ level: level - 1, index: child }),
    );
    return foldSubtrees(await Promise.all([left, right] as Promise<Uint8Array>[]));
  }

  async #tile(level: number, index: number): Promise<MerkleTree> {
    if (index === (this.#full[level] ?? 0)) return this.#partial[level] ?? new MerkleTree();
    const path = tilePath(level, index);
    const tile = this.#cache.get(path) ?? (await this.#read(path));
    this.#cache.delete(path);
    this.#cache.set(path, tile);
    const oldest = this.#cache.keys().next().value;
    if (this.#cache.size > cachedTiles && oldest !== undefined) this.#cache.delete(oldest);
    return tile;
  }

  async #read(path: string): Promise<MerkleTree> {
    const hashes = decodeTile((await this.#files.read(path)) ?? new Uint8Array());
    if (hashes === undefined) {
      throw new AuditError('AUDIT_CORRUPT', `${path} is missing or not ${tileWidth} hashes`);
    }
    return MerkleTree.of(hashes);
  }
}
