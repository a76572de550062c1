/** Which blocks of the project's code have run, from the engine's own counters. */
import { Session } from 'node:inspector/promises';

export class BlockCoverage implements Disposable {
  readonly #session = new Session();
  readonly #part: string;
  readonly #seen = new Set<string>();

  constructor(part: string) {
    this.#part = part;
  }

  /** @param part of the address of each module that counts, such as `/kel/` */
  static async start(part: string): Promise<BlockCoverage> {
    const coverage = new BlockCoverage(part);
    coverage.#session.connect();
    await coverage.#session.post('Profiler.enable');
    await coverage.#session.post('Profiler.startPreciseCoverage', {
      callCount: true,
      detailed: true,
    });
    return coverage;
  }

  /** Blocks seen so far. */
  get size(): number {
    return this.#seen.size;
  }

  /** Blocks that have run since the last call and never before; they count as seen from now on. */
  async fresh(): Promise<number> {
    const { result } = await this.#session.post('Profiler.takePreciseCoverage');
    const before = this.#seen.size;
    for (const { url, functions } of result) {
      if (!url.includes(this.#part)) continue;
      for (const { ranges } of functions)
        for (const { startOffset, endOffset, count } of ranges)
          if (count > 0) this.#seen.add(`${url}:${startOffset}-${endOffset}`);
    }
    return this.#seen.size - before;
  }

  [Symbol.dispose](): void {
    this.#session.disconnect();
  }
}
