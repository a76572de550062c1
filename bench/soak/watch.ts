/** What is looked at all the time while a federation runs. */
import { readFileSync } from 'node:fs';
import { pause, type Site } from '../support/site.ts';
import { median, slope } from '../support/stats.ts';

const EPOCHS_MS = 2_000;
const MEMORY_MS = 1_000;
/** A life that is shorter says nothing of growth. */
const MIN_SAMPLES = 20;

/** The epoch of a pair at one end never goes back. */
export class EpochWatch {
  readonly #last = new Map<string, number>();
  readonly violations: string[] = [];
  /** Rows that were compared with one before. */
  compared = 0;
  /** Epochs that were moved on from. */
  changes = 0;

  async run(sites: readonly Site[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const site of sites) await this.#look(site);
      await pause(EPOCHS_MS);
    }
  }

  async #look(site: Site): Promise<void> {
    if (site.pid === undefined) return;
    // Killed at this moment, or not there yet.
    const rows = await site.peers().catch(() => []);
    for (const { name, epoch } of rows) {
      if (epoch === null) continue;
      const end = `${site.name} ${name}`;
      const last = this.#last.get(end);
      this.#last.set(end, epoch);
      if (last === undefined) continue;
      this.compared += 1;
      if (epoch > last) this.changes += 1;
      if (epoch < last) this.violations.push(`epoch of ${end} went back from ${last} to ${epoch}`);
    }
  }
}

/** Of one process, from its start to its end. */
export interface Life {
  readonly name: string;
  /** The first is 1. */
  readonly number: number;
  readonly minutes: number;
  /** Resident memory in MB: median of the first and of the last third. */
  readonly first: number;
  readonly last: number;
  /** MB a minute over the whole life, and over its second half. */
  readonly slope: number;
  readonly lateSlope: number;
}

/** Resident memory of the agents, process by process. */
export class MemoryWatch {
  readonly #lives = new Map<
    number,
    { readonly name: string; readonly number: number; readonly samples: { x: number; y: number }[] }
  >();
  readonly #counts = new Map<string, number>();

  async run(sites: readonly Site[], signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      for (const { name, pid } of sites) {
        const megabytes = pid === undefined ? undefined : residentMegabytes(pid);
        if (pid !== undefined && megabytes !== undefined)
          this.#lifeOf(name, pid).samples.push({ x: performance.now() / 60_000, y: megabytes });
      }
      await pause(MEMORY_MS);
    }
  }

  /** Those that were long enough, by name. */
  lives(): readonly Life[] {
    return [...this.#lives.values()]
      .filter(({ samples }) => samples.length >= MIN_SAMPLES)
      .map(({ name, number, samples }) => {
        const third = Math.floor(samples.length / 3);
        const sizes = samples.map(({ y }) => y);
        return {
          name,
          number,
          minutes: (samples.at(-1)?.x ?? 0) - (samples[0]?.x ?? 0),
          first: median(sizes.slice(0, third)),
          last: median(sizes.slice(-third)),
          slope: slope(samples),
          lateSlope: slope(samples.slice(samples.length >> 1)),
        };
      })
      .sort((a, b) => (a.name === b.name ? a.number - b.number : a.name < b.name ? -1 : 1));
  }

  #lifeOf(name: string, pid: number) {
    const known = this.#lives.get(pid);
    if (known !== undefined) return known;
    const number = (this.#counts.get(name) ?? 0) + 1;
    this.#counts.set(name, number);
    const life = { name, number, samples: [] };
    this.#lives.set(pid, life);
    return life;
  }
}

/** @returns undefined when the process has ended */
function residentMegabytes(pid: number): number | undefined {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) / 1_024;
  } catch {
    return undefined;
  }
}
