/** Reading a log back from its files: every hash again, and what a crash interrupted is completed. */
import { concatBytes, equalBytes } from '#src/bytes';
import { type Checkpoint, checkpointOfNote } from './checkpoint.ts';
import { AuditError } from './errors.ts';
import type { LogFiles } from './log-files.ts';
import { decodeTail } from './tail.ts';
import { decodeEntries, encodeEntries, tilePath, tileWidth } from './tile.ts';
import { TileTree } from './tree.ts';

/** Entries that are in no bundle yet. */
export const tailPath = 'tail';
/** The last signed checkpoint. */
export const checkpointPath = 'checkpoint';

export interface RecoveredLog {
  readonly tree: TileTree;
  readonly tail: Uint8Array[];
  readonly signed: Checkpoint | undefined;
  readonly lastNote: string | undefined;
  readonly cutBytes: number;
}

/**
 * @throws AUDIT_CORRUPT when an entry, a tile or the signed checkpoint does not fit the rest
 * @throws AUDIT_ROLLBACK when fewer entries are there than the last signed checkpoint counts
 */
export async function recoverLog(origin: string, files: LogFiles): Promise<RecoveredLog> {
  const tree = new TileTree(files);
  await readBundles(tree, files);
  const { tail, cutBytes } = await readTail(tree, files);
  const noteBytes = await files.read(checkpointPath);
  if (noteBytes === undefined)
    return { tree, tail, cutBytes, signed: undefined, lastNote: undefined };
  const lastNote = Buffer.from(noteBytes).toString();
  const signed = storedCheckpoint(lastNote, origin);
  if (signed.size > tree.size) {
    throw new AuditError(
      'AUDIT_ROLLBACK',
      `log ${origin} has ${tree.size} entries, its last signed checkpoint counts ${signed.size}`,
    );
  }
  if (!equalBytes(await tree.rangeRoot({ start: 0, end: signed.size }), signed.root)) {
    throw new AuditError(
      'AUDIT_CORRUPT',
      `log ${origin} has another root at its signed size ${signed.size}`,
    );
  }
  return { tree, tail, cutBytes, signed, lastNote };
}

/** Hashes every full bundle and compares the tiles; writes those that a crash left out after the last bundle. */
async function readBundles(tree: TileTree, files: LogFiles): Promise<void> {
  let next = await files.read(tilePath('entries', 0));
  for (let n = 0; next !== undefined; n++) {
    const bytes = next;
    next = await files.read(tilePath('entries', n + 1));
    const entries = decodeEntries(bytes);
    if (entries?.length !== tileWidth) {
      throw new AuditError(
        'AUDIT_CORRUPT',
        `${tilePath('entries', n)}: expected ${tileWidth} entries, got ${entries?.length ?? 'damage'}`,
      );
    }
    for (const entry of entries) tree.add(entry);
    const tiles = tree.fullTiles();
    for (const { level, index, hashes } of tiles) {
      const path = tilePath(level, index);
      const stored = await files.read(path);
      const expected = concatBytes(...hashes);
      if (stored === undefined && next === undefined) await files.replace(path, expected);
      else if (stored === undefined || !equalBytes(stored, expected)) {
        throw new AuditError('AUDIT_CORRUPT', `${path} does not hold the hashes of its entries`);
      }
    }
    tree.retire(tiles);
  }
}

async function readTail(
  tree: TileTree,
  files: LogFiles,
): Promise<{ readonly tail: Uint8Array[]; readonly cutBytes: number }> {
  const bytes = (await files.read(tailPath)) ?? new Uint8Array();
  const { first, entries, length, corruptAt } = decodeTail(bytes);
  if (corruptAt !== undefined) {
    throw new AuditError('AUDIT_CORRUPT', `${tailPath} is damaged at byte ${corruptAt}`);
  }
  if (first !== undefined && first === tree.size - tileWidth && entries.length === tileWidth) {
    await requireBundle(first / tileWidth, entries, files);
    await files.truncate(tailPath, 0);
    return { tail: [], cutBytes: 0 };
  }
  if (first !== undefined && (first !== tree.size || entries.length > tileWidth)) {
    throw new AuditError(
      'AUDIT_CORRUPT',
      `${tailPath} begins at entry ${first} and has ${entries.length}, bundles end at ${tree.size}`,
    );
  }
  const cutBytes = bytes.length - length;
  if (cutBytes > 0) await files.truncate(tailPath, length);
  const tail = entries.map((entry) => Uint8Array.from(entry));
  for (const entry of tail) tree.add(entry);
  return { tail, cutBytes };
}

/** The tail that was moved into a bundle before a crash must be that bundle. */
async function requireBundle(
  n: number,
  entries: readonly Uint8Array[],
  files: LogFiles,
): Promise<void> {
  const path = tilePath('entries', n);
  const bundle = await files.read(path);
  if (bundle !== undefined && equalBytes(bundle, encodeEntries(entries))) return;
  throw new AuditError('AUDIT_CORRUPT', `${path} and ${tailPath} differ`);
}

function storedCheckpoint(note: string, origin: string): Checkpoint {
  let checkpoint: Checkpoint;
  try {
    checkpoint = checkpointOfNote(note);
  } catch (cause) {
    throw new AuditError('AUDIT_CORRUPT', `${checkpointPath} of ${origin} is damaged`, { cause });
  }
  if (checkpoint.origin === origin) return checkpoint;
  throw new AuditError(
    'AUDIT_CORRUPT',
    `${checkpointPath}: expected origin ${origin}, got ${checkpoint.origin}`,
  );
}
