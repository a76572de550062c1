/**
 * An append-only log in files: `tile/entries/…` and `tile/<level>/…` as in C2SP tlog-tiles for the full
 * bundles of 256 entries, `tail` for the rest, `checkpoint` for the last signed checkpoint.
 *
 * The files are the truth: opening reads every entry again and compares all hashes. One process at a time
 * may have a log open; the owner of the folder sees to that.
 *
 * Order of writes, each durable before the next: entries to `tail` → acknowledged → at 256: entry bundle →
 * hash tiles → `tail` emptied. A crash between any two leaves a state that `open` completes.
 */
import { concatBytes, equalBytes } from '#src/bytes';
import { type Checkpoint, signCheckpoint } from './checkpoint.ts';
import { AuditError } from './errors.ts';
import type { LogFiles } from './log-files.ts';
import { checkpointPath, type RecoveredLog, recoverLog, tailPath } from './log-recovery.ts';
import { consistencyRanges, inclusionRanges, leafHash } from './merkle.ts';
import type { NoteSigner } from './note.ts';
import { encodeFrame } from './tail.ts';
import { decodeEntries, encodeEntries, maxEntryBytes, tilePath, tileWidth } from './tile.ts';
import type { TileTree } from './tree.ts';

/** Bytes of entries in one durable write. */
const maxBatchBytes = 1 << 20;

interface PendingEntry {
  readonly leaf: Uint8Array;
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
}

export class AuditLog implements AsyncDisposable {
  readonly origin: string;
  /** Bytes of an unacknowledged write that opening cut off; more than 0 is worth a `gap` note in the log. */
  readonly cutBytes: number;
  readonly #files: LogFiles;
  readonly #tree: TileTree;
  /** Entries of the unfinished bundle. Replaced, never emptied. */
  #tail: Uint8Array[];
  #read:
    | { readonly index: number; readonly entries: readonly Uint8Array[] | undefined }
    | undefined;
  #signed: Checkpoint | undefined;
  #lastNote: string | undefined;
  #pending: PendingEntry[] = [];
  #writing: Promise<void> | undefined;
  #signing: Promise<unknown> = Promise.resolve();
  #failure: AuditError | undefined;

  private constructor(origin: string, files: LogFiles, opened: RecoveredLog) {
    this.origin = origin;
    this.#files = files;
    this.#tree = opened.tree;
    this.#tail = opened.tail;
    this.#signed = opened.signed;
    this.#lastNote = opened.lastNote;
    this.cutBytes = opened.cutBytes;
  }

  /**
   * Reads the whole log, completes what a crash interrupted, and cuts a torn tail.
   * @param files owned by the log from here on
   * @throws AUDIT_CORRUPT when an entry, a tile or the signed checkpoint does not fit the rest
   * @throws AUDIT_ROLLBACK when fewer entries are there than the last signed checkpoint counts
   */
  static async open(origin: string, files: LogFiles): Promise<AuditLog> {
    const opened = await recoverLog(origin, files);
    const log = new AuditLog(origin, files, opened);
    if (log.#tree.room === 0) await log.#seal();
    return log;
  }

  /** Durable entries. */
  get size(): number {
    return this.#tree.size;
  }

  /** The last checkpoint signed here, as a signed note. */
  get lastCheckpoint(): string | undefined {
    return this.#lastNote;
  }

  /**
   * Adds an entry; appends made while another is being written share one flush.
   * @param leaf at most 65,535 bytes, kept by reference until the promise settles
   * @returns its index, once the entry is durable
   * @throws AUDIT_LEAF_TOO_LARGE, AUDIT_WRITE_FAILED, AUDIT_CLOSED
   */
  async append(leaf: Uint8Array): Promise<number> {
    if (leaf.length > maxEntryBytes) {
      throw new AuditError(
        'AUDIT_LEAF_TOO_LARGE',
        `leaf: at most ${maxEntryBytes} bytes, got ${leaf.length}`,
      );
    }
    if (this.#failure !== undefined) throw this.#failure;
    return new Promise((resolve, reject) => {
      this.#pending.push({ leaf, resolve, reject });
      this.#writing ??= this.#writeAll();
    });
  }

  /**
   * Signs the checkpoint of the present size, and stores it before anyone sees it.
   * @returns the signed note
   * @throws AUDIT_ROLLBACK when a larger size, or another root at its size, was signed or observed before
   */
  checkpoint(signers: readonly NoteSigner[]): Promise<string> {
    const next = this.#signing.then(() => this.#sign(signers));
    this.#signing = next.catch(() => undefined);
    return next;
  }

  /**
   * Takes note of a checkpoint of this log that someone else holds. Its signature is the caller's business.
   * @throws AUDIT_ROLLBACK when this log is not that log or an extension of it: nothing may be signed any more
   */
  async observe(held: Checkpoint): Promise<void> {
    try {
      await this.#requireExtends(held);
    } catch (error) {
      if (error instanceof AuditError && error.code === 'AUDIT_ROLLBACK') this.#failure = error;
      throw error;
    }
  }

  /** Root of the first `size` entries, 32 bytes. @throws AUDIT_OUT_OF_RANGE */
  async root(size: number): Promise<Uint8Array> {
    this.#requireSize(size);
    return this.#tree.rangeRoot({ start: 0, end: size });
  }

  /** Sibling hashes, nearest the leaf first. @throws AUDIT_OUT_OF_RANGE unless index < size ≤ size of the log */
  async inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]> {
    this.#requireSize(size);
    requireWithin(index, size);
    return Promise.all(inclusionRanges(index, size).map((range) => this.#tree.rangeRoot(range)));
  }

  /** Proof that the first `newer` entries begin with the first `older`. @throws AUDIT_OUT_OF_RANGE */
  async consistencyProof(older: number, newer: number): Promise<readonly Uint8Array[]> {
    this.#requireSize(newer);
    requireWithin(older, newer + 1);
    return Promise.all(consistencyRanges(older, newer).map((range) => this.#tree.rangeRoot(range)));
  }

  /** The entry at `index`. @throws AUDIT_OUT_OF_RANGE, AUDIT_CORRUPT when its hash is not the one in the tree */
  async leaf(index: number): Promise<Uint8Array> {
    requireWithin(index, this.size);
    const bundle = Math.floor(index / tileWidth);
    const isTail = bundle === Math.floor((this.size - this.#tail.length) / tileWidth);
    const entries = isTail ? this.#tail : await this.#bundle(bundle);
    const leaf = entries?.[index % tileWidth];
    if (leaf === undefined || !equalBytes(leafHash(leaf), await this.#tree.leaf(index))) {
      throw new AuditError(
        'AUDIT_CORRUPT',
        `entry ${index} of ${this.origin} has another hash than its tree`,
      );
    }
    return leaf;
  }

  /** Waits for appends under way, then closes the files. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing;
    await this.#signing;
    this.#failure ??= new AuditError('AUDIT_CLOSED', `log ${this.origin} is closed`);
    await this.#files[Symbol.asyncDispose]();
  }

  async #writeAll(): Promise<void> {
    // A turn of the event loop gathers the appends that were made together.
    await new Promise<void>((resolve) => setImmediate(resolve));
    while (this.#pending.length > 0) {
      const batch = this.#takeBatch();
      try {
        await this.#write(batch);
      } catch (cause) {
        this.#failure ??= new AuditError(
          'AUDIT_WRITE_FAILED',
          `log ${this.origin} could not be written`,
          { cause },
        );
        for (const entry of [...batch, ...this.#pending]) entry.reject(this.#failure);
        this.#pending = [];
      }
    }
    this.#writing = undefined;
  }

  #takeBatch(): readonly PendingEntry[] {
    let count = 0;
    let bytes = 0;
    while (count < this.#tree.room && count < this.#pending.length && bytes < maxBatchBytes) {
      bytes += this.#pending[count]?.leaf.length ?? 0;
      count++;
    }
    return this.#pending.splice(0, count);
  }

  async #write(batch: readonly PendingEntry[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure;
    const first = this.size;
    const leaves = batch.map(({ leaf }) => Uint8Array.from(leaf));
    await this.#files.append(tailPath, encodeFrame(first, leaves));
    for (const leaf of leaves) this.#tree.add(leaf);
    this.#tail.push(...leaves);
    if (this.#tree.room === 0) await this.#seal();
    for (const [i, entry] of batch.entries()) entry.resolve(first + i);
  }

  /** The entries of a full bundle; the one read last is kept, since exports read in order. */
  async #bundle(index: number): Promise<readonly Uint8Array[] | undefined> {
    if (this.#read?.index !== index) {
      const bytes = await this.#files.read(tilePath('entries', index));
      const entries = bytes === undefined ? undefined : decodeEntries(bytes);
      this.#read = { index, entries };
    }
    return this.#read.entries;
  }

  /** Moves the full tail into its bundle and tiles. */
  async #seal(): Promise<void> {
    const tiles = this.#tree.fullTiles();
    const bundle = tiles[0]?.index ?? 0;
    await this.#files.replace(tilePath('entries', bundle), encodeEntries(this.#tail));
    for (const { level, index, hashes } of tiles) {
      await this.#files.replace(tilePath(level, index), concatBytes(...hashes));
    }
    await this.#files.truncate(tailPath, 0);
    this.#tree.retire(tiles);
    this.#tail = [];
  }

  async #sign(signers: readonly NoteSigner[]): Promise<string> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.#signed !== undefined) await this.#requireExtends(this.#signed);
    const size = this.size;
    const checkpoint = { origin: this.origin, size, root: await this.root(size) };
    const note = await signCheckpoint(checkpoint, signers);
    try {
      await this.#files.replace(checkpointPath, Buffer.from(note));
    } catch (cause) {
      // Whether the file holds the old or the new checkpoint is not known until it is read again.
      this.#failure = new AuditError(
        'AUDIT_WRITE_FAILED',
        `checkpoint of ${this.origin} could not be written`,
        { cause },
      );
      throw this.#failure;
    }
    this.#signed = checkpoint;
    this.#lastNote = note;
    return note;
  }

  async #requireExtends(held: Checkpoint): Promise<void> {
    if (held.origin !== this.origin) {
      throw new AuditError(
        'AUDIT_BAD_CHECKPOINT',
        `expected origin ${this.origin}, got ${held.origin}`,
      );
    }
    if (held.size > this.size) {
      throw new AuditError(
        'AUDIT_ROLLBACK',
        `log ${this.origin} has ${this.size} entries, a checkpoint of ${held.size} is out`,
      );
    }
    if (!equalBytes(await this.root(held.size), held.root)) {
      throw new AuditError(
        'AUDIT_ROLLBACK',
        `log ${this.origin} has another root at size ${held.size} than the checkpoint that is out`,
      );
    }
  }

  #requireSize(size: number): void {
    if (Number.isSafeInteger(size) && size >= 0 && size <= this.size) return;
    throw new AuditError(
      'AUDIT_OUT_OF_RANGE',
      `size ${size} of ${this.origin}, which has ${this.size} entries`,
    );
  }
}

function requireWithin(index: number, size: number): void {
  if (Number.isSafeInteger(index) && index >= 0 && index < size) return;
  throw new AuditError('AUDIT_OUT_OF_RANGE', `index ${index}, expected 0 to ${size - 1}`);
}
