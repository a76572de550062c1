/**
 * The ground of the demonstration: one network namespace per organisation and one with the switch between
 * them. The host's own network is not touched.
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

export interface Place {
  /** Name for `ip netns`. */
  readonly netns: string;
  readonly address: string;
}

export class World {
  readonly places: ReadonlyMap<string, Place>;
  readonly #names: readonly string[];

  private constructor(places: ReadonlyMap<string, Place>, names: readonly string[]) {
    this.places = places;
    this.#names = names;
  }

  /** @param tag makes the names unique on this machine  @param organisations at most 200 */
  static async build(tag: string, organisations: readonly string[]): Promise<World> {
    const net = `${tag}-net`;
    const places = new Map(
      organisations.map((name, i) => [
        name,
        { netns: `${tag}-${name}`, address: `10.77.0.${i + 1}` },
      ]),
    );
    const world = new World(places, [net, ...[...places.values()].map(({ netns }) => netns)]);
    try {
      await ip('netns', 'add', net);
      await ip('-n', net, 'link', 'add', 'switch', 'type', 'bridge');
      await ip('-n', net, 'link', 'set', 'switch', 'up');
      for (const [i, { netns, address }] of [...places.values()].entries()) {
        await ip('netns', 'add', netns);
        await ip(
          '-n',
          net,
          'link',
          'add',
          `port${i}`,
          'type',
          'veth',
          'peer',
          'name',
          'uplink',
          'netns',
          netns,
        );
        await ip('-n', net, 'link', 'set', `port${i}`, 'master', 'switch', 'up');
        await ip('-n', netns, 'link', 'set', 'lo', 'up');
        await ip('-n', netns, 'addr', 'add', `${address}/24`, 'dev', 'uplink');
        await ip('-n', netns, 'link', 'set', 'uplink', 'up');
      }
      return world;
    } catch (error) {
      await world.remove();
      throw error;
    }
  }

  /** Command line that runs `command` in the place. */
  static enter({ netns }: Place, command: readonly string[]): readonly [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${netns}`, '--', ...command];
  }

  /** Ends what still runs in the namespaces, which are ours alone, and removes them. */
  async remove(): Promise<void> {
    for (const name of this.#names) {
      await endProcesses(name).catch(() => undefined);
      await ip('netns', 'delete', name).catch(() => undefined);
    }
  }
}

const PATIENCE_MS = 3_000;
const POLL_MS = 50;

/** A program that is asked first removes its sockets. */
async function endProcesses(netns: string): Promise<void> {
  for (let waited = 0; ; waited += POLL_MS) {
    const pids = (await ip('netns', 'pids', netns))
      .split('\n')
      .filter((line) => line !== '')
      .map(Number);
    if (pids.length === 0) return;
    if (waited === 0 || waited >= PATIENCE_MS)
      for (const pid of pids) end(pid, waited === 0 ? 'SIGTERM' : 'SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function end(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended by itself.
  }
}

async function ip(...args: readonly string[]): Promise<string> {
  return (await run('ip', [...args])).stdout;
}
