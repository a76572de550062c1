/** How busy the machine is: a figure of a machine that has no time left says more of the machine. */
import { availableParallelism, cpus, loadavg } from 'node:os';

export function describeMachine(): string {
  return `${availableParallelism()} cores (${cpus()[0]?.model ?? 'unknown'}), load ${loadavg()
    .map((load) => load.toFixed(1))
    .join(' ')}`;
}

/** Of all cores since the last call, as a percentage: everything that runs on the machine counts. */
export class BusyMeter {
  #last = times();

  read(): string {
    const now = times();
    const busy = now.busy - this.#last.busy;
    const all = now.all - this.#last.all;
    this.#last = now;
    return `${Math.round((100 * busy) / Math.max(1, all))} % of ${availableParallelism()} cores`;
  }
}

function times(): { readonly busy: number; readonly all: number } {
  let [busy, all] = [0, 0];
  for (const { times: spent } of cpus()) {
    const total = Object.values(spent).reduce((sum, ms) => sum + ms, 0);
    all += total;
    busy += total - spent.idle;
  }
  return { busy, all };
}
