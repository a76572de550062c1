/** A database in memory whose writes fail from a chosen one on: the disk of a crash test. */
import { MemoryLevel } from 'memory-level';

/** What happens to the write that fails: it never reached the disk, or it did and only the answer got lost. */
export type WriteFailure = 'lost' | 'persisted';

interface Driver {
  _batch(operations: readonly unknown[], options: object): Promise<void>;
}

// abstract-level calls this method of its drivers and leaves it out of its types.
const inMemory = MemoryLevel.prototype as unknown as Driver;

export class FailingLevel extends MemoryLevel<string, string> {
  /** Batches that reached the disk or failed. */
  writes = 0;
  #failure: { readonly at: number; readonly kind: WriteFailure } | undefined;

  /** The `at`-th batch from now, counted from 1, fails and so does every later one, until {@link heal}. */
  failAt(at: number, kind: WriteFailure): void {
    this.#failure = { at: this.writes + at, kind };
  }

  heal(): void {
    this.#failure = undefined;
  }

  async _batch(operations: readonly unknown[], options: object): Promise<void> {
    this.writes += 1;
    const failure = this.#failure;
    if (failure === undefined || this.writes < failure.at) {
      return inMemory._batch.call(this, operations, options);
    }
    if (this.writes === failure.at && failure.kind === 'persisted') {
      await inMemory._batch.call(this, operations, options);
    }
    throw new Error(`simulated: write ${this.writes} fails (${failure.kind})`);
  }
}
