/**
 * The audit log as an organisation writes it: sealed leaves, their openings, and every checkpoint it signed.
 *
 * Order of writes: openings → leaf. A crash between the two leaves openings without a leaf, which the next
 * leaf at that index replaces.
 */

import type { Aid } from '#kel/identifiers';
import { checkpointOfNote } from '#src/audit/checkpoint';
import { AuditError } from '#src/audit/errors';
import type { AuditLog } from '#src/audit/log';
import type { NoteSigner } from '#src/audit/note';
import { equalBytes, utf8 } from '#src/bytes';
import { type Clock, formatDateTime } from '#src/clock';
import type { Rng } from '#src/rng';
import { SerialQueue } from '#src/serial-queue';
import { type Database, DurableTable } from '#src/store/durable-table';
import {
  type LeafHeader,
  type LeafType,
  type LeafValues,
  type Openings,
  sealLeaf,
} from '../format/leaf.ts';
import { OpeningStore } from './opening-store.ts';

export interface ProvenanceDeps {
  /** Written by this object alone from here on; closed by its owner. */
  readonly log: AuditLog;
  readonly db: Database;
  readonly rng: Rng;
  readonly clock: Clock;
}

interface PendingLeaf {
  readonly seal: (sequence: number) => { readonly leaf: Uint8Array; readonly openings: Openings };
  readonly resolve: (index: number) => void;
  readonly reject: (error: unknown) => void;
}

export class ProvenanceLog {
  readonly aid: Aid;
  readonly log: AuditLog;
  readonly #rng: Rng;
  readonly #clock: Clock;
  readonly #openings: OpeningStore;
  readonly #checkpoints: DurableTable;
  readonly #queue = new SerialQueue();
  #pending: PendingLeaf[] = [];
  #storeIsOlder = false;

  private constructor(
    aid: Aid,
    deps: ProvenanceDeps,
    openings: OpeningStore,
    checkpoints: DurableTable,
  ) {
    this.aid = aid;
    this.log = deps.log;
    this.#rng = deps.rng;
    this.#clock = deps.clock;
    this.#openings = openings;
    this.#checkpoints = checkpoints;
  }

  /**
   * After a crash that cut the log's tail a `gap` leaf says so, and after an older copy of the log was confirmed.
   * @param isConfirmed the operator's word that the log is to go on as it is, though the database knows a longer one
   * @throws AUDIT_ROLLBACK when the database knows a longer log, or another one
   */
  static async open(
    aid: Aid,
    deps: ProvenanceDeps,
    { isConfirmed = false }: { readonly isConfirmed?: boolean } = {},
  ): Promise<ProvenanceLog> {
    const openings = await OpeningStore.open(deps.db);
    const checkpoints = await DurableTable.open(deps.db, 'checkpoints');
    const provenance = new ProvenanceLog(aid, deps, openings, checkpoints);
    const shorter = await provenance.#rollback();
    if (shorter !== undefined && !isConfirmed) throw shorter;
    const { size } = deps.log;
    if (size > 0 && !openings.has(size - 1)) provenance.#storeIsOlder = true;
    if (shorter !== undefined) {
      await provenance.#forgetBeyond(size);
      await provenance.record('gap', {
        reason: `the operator confirmed an older copy of this log: ${shorter.message}`,
      });
    }
    if (provenance.#storeIsOlder)
      await provenance.record('gap', {
        reason: `the database is older than this log of ${size} leaves: openings are lost`,
      });
    if (deps.log.cutBytes > 0) {
      await provenance.record('gap', {
        reason: `${deps.log.cutBytes} bytes of an unfinished write were cut`,
      });
    }
    return provenance;
  }

  /** When it was opened, the log held leaves that this database had never seen. */
  get storeIsOlder(): boolean {
    return this.#storeIsOlder;
  }

  /**
   * Appends one leaf; leaves recorded together share one durable write.
   * @returns its index, once leaf and openings are durable
   * @throws PROVENANCE_BAD_VALUE, STORE_WRITE_FAILED, and what `AuditLog.append` throws
   */
  async record<T extends LeafType>(type: T, values: LeafValues[T]): Promise<number> {
    const time = formatDateTime(this.#clock.now());
    const seal = (sequence: number) => {
      const header: LeafHeader & { readonly type: T } = { type, time, aid: this.aid, sequence };
      return sealLeaf(header, values, this.#rng.bytes(32));
    };
    seal(0);
    return new Promise((resolve, reject) => {
      this.#pending.push({ seal, resolve, reject });
      // A failure reaches whoever waits for the leaf.
      this.#queue.run(() => this.#write()).catch(reject);
    });
  }

  /** The openings of leaf `index`; empty when erased. */
  openings(index: number): Openings {
    return this.#openings.get(index);
  }

  /** Erases the openings of leaf `index` and records that. @returns the index of the `erasure` leaf */
  async erase(index: number, reason: string): Promise<number> {
    const recorded = await this.record('erasure', { leaf: index, reason });
    await this.#openings.erase(index);
    return recorded;
  }

  /** Signs the checkpoint of the present size and keeps it. @throws AUDIT_ROLLBACK, AUDIT_WRITE_FAILED, STORE_WRITE_FAILED */
  checkpoint(signers: readonly NoteSigner[]): Promise<string> {
    return this.#queue.run(async () => {
      const note = await this.log.checkpoint(signers);
      const { size } = checkpointOfNote(note);
      this.#checkpoints.put(size.toString().padStart(16, '0'), utf8(note));
      await this.#checkpoints.commit();
      return note;
    });
  }

  /** The signed checkpoints, smallest first. */
  async checkpoints(): Promise<readonly string[]> {
    const notes: string[] = [];
    for await (const [, note] of this.#checkpoints.entries(''))
      notes.push(Buffer.from(note).toString());
    return notes;
  }

  /** Why the log is older than the database knows it, or another one. */
  async #rollback(): Promise<AuditError | undefined> {
    const { log } = this;
    const known = this.#openings.logSize;
    if (known > log.size)
      return rollback(`log ${log.origin} has ${log.size} entries, it had ${known}`);
    // Every checkpoint extends the one before: the last one speaks for all.
    const last = (await this.checkpoints()).at(-1);
    if (last === undefined) return undefined;
    const { size, root } = checkpointOfNote(last);
    if (size > log.size)
      return rollback(
        `log ${log.origin} has ${log.size} entries, a signed checkpoint counts ${size}`,
      );
    return equalBytes(await log.root(size), root)
      ? undefined
      : rollback(`log ${log.origin} has another root at its signed size ${size}`);
  }

  /** Checkpoints of what is not there any more would make every later export contradict itself. */
  async #forgetBeyond(size: number): Promise<void> {
    for await (const [key, note] of this.#checkpoints.entries('')) {
      const checkpoint = checkpointOfNote(Buffer.from(note).toString());
      const stands =
        checkpoint.size <= size &&
        equalBytes(await this.log.root(checkpoint.size), checkpoint.root);
      if (!stands) this.#checkpoints.delete(key);
    }
    await this.#checkpoints.commit();
    await this.#openings.setLogSize(size);
  }

  async #write(): Promise<void> {
    const batch = this.#pending;
    this.#pending = [];
    if (batch.length === 0) return;
    try {
      const first = this.log.size;
      const sealed = batch.map(({ seal }, i) => seal(first + i));
      const openings = sealed.map((leaf, i) => ({ index: first + i, openings: leaf.openings }));
      await this.#openings.put(openings, first);
      const indices = await Promise.all(sealed.map(({ leaf }) => this.log.append(leaf)));
      // The leaves are durable whatever becomes of this: without it the next ones say it.
      const size = first + batch.length;
      await this.#openings.setLogSize(size, { isLosable: true }).catch(() => undefined);
      for (const [i, { resolve }] of batch.entries()) resolve(indices[i] as number);
    } catch (error) {
      for (const { reject } of batch) reject(error);
    }
  }
}

function rollback(message: string): AuditError {
  return new AuditError('AUDIT_ROLLBACK', message, {
    hint: 'An older copy of the folder `audit` was put back: put the newest one back. If it is lost, `kelmesh id confirm` goes on with this one; evidence of what is missing then fails, and a `gap` leaf says why',
  });
}
