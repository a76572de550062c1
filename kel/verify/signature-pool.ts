/** Verifies batches of Ed25519 signatures on this thread and others; the result is that of one thread. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { decodeMatter } from '#kel/cesr/matter';
import type { Ed25519 } from '#src/crypto/suite';
import { AREA_SLOTS, SignatureArea } from './signature-area.ts';
import type { BatchRunner, SignatureCheck } from './signature-batch.ts';

/** Milliseconds to wait for a thread that has taken a check: a few times what it takes, else this one does it too. */
const PATIENCE = 0.3;
const RAW_KEY_LENGTH = 32;
/** Decoded keys that are kept. */
const MAX_CACHED_KEYS = 256;
/** A thread takes as long to start as this many checks on one that runs. */
const CHECKS_BEFORE_START = 2000;
/** More would wait for the thread that reads and judges. */
const MAX_THREADS = 7;

export class SignaturePool implements BatchRunner, Disposable {
  readonly #ed25519: Pick<Ed25519, 'verify'>;
  readonly #area = new SignatureArea();
  readonly #threads: number;
  readonly #workers: Worker[] = [];
  #seen = 0;
  readonly #rawKeys = new Map<string, Uint8Array>();
  /** Slot of each check of the batch; −1 for those that are not in the area. */
  #slots: number[] = [];
  #count = 0;

  /** @param threads besides this one; they start when there is enough to do */
  constructor(ed25519: Pick<Ed25519, 'verify'>, threads = availableParallelism() - 1) {
    this.#ed25519 = ed25519;
    this.#threads = Math.min(threads, MAX_THREADS);
  }

  start(checks: readonly SignatureCheck[]): void {
    this.#seen += checks.length;
    if (this.#seen >= CHECKS_BEFORE_START && this.#workers.length === 0) this.#startWorkers();
    this.#area.begin();
    this.#count = 0;
    this.#slots = checks.map((check) => {
      const rawKey = this.#count < AREA_SLOTS ? this.#rawKey(check.key) : undefined;
      if (rawKey === undefined || !this.#area.fill(this.#count, rawKey, check)) return -1;
      return this.#count++;
    });
    this.#area.publish(this.#count);
  }

  finish(): readonly (boolean | undefined)[] {
    for (let slot = 0; slot < this.#count; slot++)
      this.#area.work(this.#area.batch, slot, this.#ed25519.verify);
    return this.#slots.map((slot) => (slot < 0 ? undefined : this.#area.result(slot, PATIENCE)));
  }

  [Symbol.dispose](): void {
    for (const worker of this.#workers) void worker.terminate();
  }

  #startWorkers(): void {
    const file = new URL('./signature-worker.ts', import.meta.url);
    while (this.#workers.length < this.#threads) {
      const worker = new Worker(file, { workerData: this.#area.memory });
      worker.unref();
      // Without the thread this one does all the work.
      worker.on('error', () => {});
      this.#workers.push(worker);
    }
  }

  /** undefined for a key of another algorithm. */
  #rawKey(key: string): Uint8Array | undefined {
    if (!key.startsWith('D') && !key.startsWith('B')) return undefined;
    let raw = this.#rawKeys.get(key);
    if (raw === undefined) {
      raw = decodeMatter(key).raw;
      if (this.#rawKeys.size >= MAX_CACHED_KEYS) this.#rawKeys.clear();
      this.#rawKeys.set(key, raw);
    }
    return raw.length === RAW_KEY_LENGTH ? raw : undefined;
  }
}
