/** How busy the machine is: a figure of a machine that has no time left says more of the machine than of what is measured. */
import { availableParallelism, cpus, loadavg } from 'node:os';

export function describeMachine(): string {
  return `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`;
}

export class BusyMeter {
  #last = times();

  /** Since the last call: of all cores, whatever runs on them, and what this process has of it. */
  read(): string {
    const now = times();
    const all = Math.max(1, now.all - this.#last.all);
    const percent = (ms: number) => Math.round((100 * ms) / all);
    const [busy, own] = [now.busy - this.#last.busy, now.own - this.#last.own];
    this.#last = now;
    return `${percent(busy)} % of ${availableParallelism()} cores, ${percent(own)} % by the benchmark itself`;
  }
}

function times(): { readonly busy: number; readonly all: number; readonly own: number } {
  let [busy, all] = [0, 0];
  for (const { times: spent } of cpus()) {
    const total = Object.values(spent).reduce((sum, ms) => sum + ms, 0);
    all += total;
    busy += total - spent.idle;
  }
  const { user, system } = process.cpuUsage();
  return { busy, all, own: (user + system) / 1_000 };
}
