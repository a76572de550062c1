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

  private constructor(places: ReadonlyMap<string, Place>) {
    this.places = places;
  }

  /** Names of the namespaces that {@link build} makes; whoever calls it holds them as a ground before. */
  static namespaces(tag: string, organisations: readonly string[]): readonly string[] {
    return ['net', ...organisations].map((name) => `${tag}-${name}`);
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
    return new World(places);
  }

  /** Command line that runs `command` in the place. */
  static enter({ netns }: Place, command: readonly string[]): readonly [string, ...string[]] {
    return ['nsenter', `--net=/run/netns/${netns}`, '--', ...command];
  }
}

async function ip(...args: readonly string[]): Promise<string> {
  return (await run('ip', [...args])).stdout;
}
