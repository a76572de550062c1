/** Organisations on one switch, each an agent in a network namespace of its own, in full mesh. */
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { Ground } from '../../demo/ground-removal.ts';
import { World } from '../../demo/world.ts';
import { ip, Site, until } from './site.ts';

const reach = fileURLToPath(new URL('./reach.ts', import.meta.url));
const REACH_PORT = 7_430;
/** Commands and starting agents side by side: each wants a core for its passphrase. */
const WIDTH = 2;

const alphabet = (
  'alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa quebec romeo ' +
  'sierra tango uniform victor whiskey xray yankee zulu'
).split(' ');

export interface FederationOptions {
  /** Of the names on this machine: at most 8 characters. */
  readonly tag: string;
  /** 2 to 60: so many strangers are remembered until they are admitted. */
  readonly nodes: number;
  /** Exists, empty. */
  readonly dir: string;
  /** Seconds that a former tunnel key stays. */
  readonly drain: number;
  readonly epochSeconds: number;
}

export class Federation {
  /** The first is the governor. */
  readonly sites: readonly Site[];
  readonly #options: FederationOptions;

  private constructor(options: FederationOptions, sites: readonly Site[]) {
    this.#options = options;
    this.sites = sites;
  }

  static ground({ tag, nodes, dir }: FederationOptions): Ground {
    const names = namesOf(nodes);
    return {
      namespaces: [switchOf(tag), ...names.map((name) => `${tag}-${name}`)],
      interfaces: names.map((_, i) => interfaceOf(tag, i)),
      dir,
    };
  }

  /** On the ground of the same options. */
  static async build(options: FederationOptions): Promise<Federation> {
    const { tag, nodes, dir, drain } = options;
    const { places } = await World.build(tag, namesOf(nodes));
    const sites = [...places].map(
      ([name, { netns, address }], i) =>
        new Site({
          name,
          netns,
          root: dir,
          interface: interfaceOf(tag, i),
          address,
          // So that a device can be asked without a process.
          driver: 'userspace',
          drain,
        }),
    );
    return new Federation(options, sites);
  }

  get governor(): Site {
    return this.sites[0] as Site;
  }

  /** Every agent runs and has knocked; none but the governor is a member. */
  async knock(): Promise<void> {
    const { governor } = this;
    const others = this.sites.slice(1);
    await inTurn(this.sites, (site) => site.kelmesh('init', '--generate-secret'));
    const { epochSeconds } = this.#options;
    await governor.kelmesh('mesh', 'create', 'bench', '--epoch-seconds', String(epochSeconds));
    await governor.start();
    const { line } = await governor.ask('mesh.invite');
    await inTurn(others, async (site) => {
      await site.start();
      await site.ask('mesh.join', { line: String(line) });
    });
    await until(60_000, 'all have knocked', async () => {
      const { knocks } = await governor.ask('mesh.show');
      return (knocks as readonly unknown[]).length === others.length;
    });
  }

  /** The governor admits all others, one by one. */
  async admit(): Promise<void> {
    for (const site of this.sites.slice(1)) {
      const { aid } = await site.ask('id.show');
      await this.governor.ask('mesh.admit', { aid: String(aid), name: site.name });
    }
  }

  /** Takes a site off the switch, which nobody is told, and back. */
  async plug(site: Site, isIn: boolean): Promise<void> {
    const port = `port${this.sites.indexOf(site)}`;
    const to = isIn ? ['master', 'switch'] : ['nomaster'];
    await ip('-n', switchOf(this.#options.tag), 'link', 'set', port, ...to);
  }

  /**
   * Sends datagrams through each tunnel in both directions, from the overlay address of one end to that of the other.
   * @returns the ways, as `from to`, on which none came back
   */
  async unreachable(sites: readonly Site[]): Promise<readonly string[]> {
    const overlays = new Map<string, string>();
    for (const site of sites) overlays.set(site.name, (await site.status()).overlay[0] ?? '');
    const helpers = sites.map((site) => {
      const targets = [...overlays].filter(([name]) => name !== site.name);
      const self = overlays.get(site.name);
      return { site, child: site.spawn(reach, { self, port: REACH_PORT, targets }) };
    });
    try {
      await Promise.all(helpers.map(({ child }) => once(child.stdout, 'data')));
      const answers = await Promise.all(
        helpers.map(async ({ site, child }) => {
          const answer = once(child.stdout, 'data');
          child.stdin.write('go\n');
          const silent = JSON.parse(String((await answer)[0])) as readonly string[];
          return silent.map((name) => `${site.name} ${name}`);
        }),
      );
      return answers.flat();
    } finally {
      for (const { child } of helpers) child.kill('SIGKILL');
    }
  }
}

/** A few at a time, in order. */
export async function inTurn<T, R>(
  items: readonly T[],
  task: (item: T) => Promise<R>,
): Promise<readonly R[]> {
  const results: R[] = [];
  const left = items.entries();
  const work = async () => {
    for (const [i, item] of left) results[i] = await task(item);
  };
  await Promise.all(Array.from({ length: WIDTH }, work));
  return results;
}

function namesOf(nodes: number): readonly string[] {
  return Array.from({ length: nodes }, (_, i) => alphabet[i] ?? `node-${i + 1}`);
}

function switchOf(tag: string): string {
  return `${tag}-net`;
}

function interfaceOf(tag: string, i: number): string {
  return `${tag}${String.fromCharCode(97 + Math.floor(i / 26))}${String.fromCharCode(97 + (i % 26))}`;
}
