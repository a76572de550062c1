/** Log files in memory, with one write that fails, before or after it took effect. */
import type { LogFiles } from '#src/audit/log-files';
import { concatBytes } from '#src/bytes';

export interface Fault {
  /** Which write of the log fails, from 0. */
  readonly write: number;
  /** Share of the write that took effect: 0 nothing, 1 all; appends also in between. */
  readonly persisted: number;
}

export class MemoryLogFiles implements LogFiles {
  readonly files: Map<string, Uint8Array>;
  readonly operations: string[] = [];
  readonly #fault: Fault | undefined;

  constructor(files = new Map<string, Uint8Array>(), fault?: Fault) {
    this.files = files;
    this.#fault = fault;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    return this.files.get(path);
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    this.#write(`replace ${path}`, (share) => {
      if (share === 1) this.files.set(path, Uint8Array.from(bytes));
    });
  }

  async append(path: string, bytes: Uint8Array): Promise<void> {
    this.#write(`append ${path}`, (share) => {
      const added = bytes.subarray(0, Math.floor(bytes.length * share));
      this.files.set(path, concatBytes(this.files.get(path) ?? new Uint8Array(), added));
    });
  }

  async truncate(path: string, length: number): Promise<void> {
    this.#write(`truncate ${path}`, (share) => {
      if (share === 1)
        this.files.set(path, (this.files.get(path) ?? new Uint8Array()).slice(0, length));
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #write(operation: string, effect: (share: number) => void): void {
    const fails = this.#fault?.write === this.operations.length;
    this.operations.push(operation);
    effect(fails ? (this.#fault?.persisted ?? 0) : 1);
    if (fails) throw new Error(`disk failed at: ${operation}`);
  }
}
