/**
 * Packets lost while keys change under 1,000 packets a second each way (an echo, counted per sequence number), at a round-trip
 * time of 0 and 60 ms by a delay proxy that also carries the agents' own connection. Real agents, real WireGuard.
 *
 *   node bench/rotation-loss.ts [--rtt 0,60] [--only WORD] [--epoch]
 *
 * `--epoch` adds the change of a preshared-key epoch with its natural handshake: a run of four minutes. The baseline, in the same
 * run: the private key swapped in place and the peer told half a second later, which is what changing a key means without this.
 * Needs root, /dev/net/tun and wireguard-go or the kernel module; works in network namespaces that it makes and removes.
 */
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Sites } from './rotation/sites.ts';
import { onGround } from './support/ground.ts';
import { ip, pause, type Site } from './support/site.ts';

interface Case {
  readonly name: string;
  readonly seconds: number;
  act(sites: Sites): Promise<void>;
}

/** Milliseconds after the command at which an agent is killed: from before the peer knows to after the prefix has moved. */
const KILLS = [60, 140, 200, 300];

const cases: readonly Case[] = [
  // What the machine loses by itself: about as many packets as all changes of one round-trip time together take.
  { name: 'nothing', seconds: 60, act: async () => undefined },
  {
    name: 'fresh PSK at both ends',
    seconds: 4,
    act: async ({ alpha }) => void (await alpha.ask('rotate.psk')),
  },
  {
    name: 'fresh PSK, forced handshake',
    seconds: 4,
    act: async ({ alpha }) => {
      const result = await alpha.ask('rotate.psk', { prove: true });
      const [pair] = result['pairs'] as unknown as readonly { proven: boolean; reason: string }[];
      if (pair?.proven !== true) throw new Error(`not proven: ${pair?.reason}`);
    },
  },
  {
    name: 'tunnel key epoch',
    seconds: 5,
    act: async ({ alpha }) => void (await alpha.ask('rotate.tunnel')),
  },
  {
    name: 'tunnel key epoch, both ends at once',
    seconds: 6,
    act: async ({ alpha, bravo }) =>
      void (await Promise.all([alpha, bravo].map((site) => site.ask('rotate.tunnel')))),
  },
  {
    name: 'KEL rotation',
    seconds: 5,
    act: async ({ alpha }) => void (await alpha.ask('id.rotate')),
  },
  {
    name: 'agent restarted',
    seconds: 6,
    act: async ({ bravo }) => {
      await bravo.stop(true);
      await bravo.start();
    },
  },
  { name: 'agent killed (-9)', seconds: 6, act: async ({ bravo }) => again(bravo) },
  ...KILLS.flatMap((ms): Case[] =>
    (['alpha', 'bravo'] as const).map((victim) => ({
      name: `tunnel key epoch of alpha, ${victim} killed after ${ms} ms`,
      seconds: 8,
      act: async (sites) => {
        const asked = sites.alpha.ask('rotate.tunnel').catch(() => undefined);
        await pause(ms);
        await again(sites[victim]);
        await asked;
      },
    })),
  ),
];

/** Two epochs of the charter, each with its handshake. To be run on a machine that does nothing else for four minutes. */
const epochCase: Case = {
  name: 'PSK epoch, natural handshake',
  seconds: 245,
  act: async () => undefined,
};

async function again(site: Site): Promise<void> {
  await site.kill();
  await site.start();
}

/** On the devices that the agents left, without them. */
async function swapInPlace({ alpha, bravo }: Sites): Promise<void> {
  // By the namespace: userspace devices of the whole machine share one directory of sockets.
  const device = async ({ netns, interface: prefix }: Site) => {
    const links = JSON.parse(await ip('-n', netns, '-j', 'link', 'show')) as { ifname: string }[];
    const own = links.map(({ ifname }) => ifname).filter((name) => name.startsWith(prefix));
    if (own.length !== 1) throw new Error(`${netns}: expected one device, got ${own.join(', ')}`);
    return own[0] as string;
  };
  const [at, to] = [await device(alpha), await device(bravo)];
  const key = (await alpha.run('wg', 'genkey')).stdout;
  const file = join(alpha.dir, 'new-key');
  writeFileSync(file, key, { mode: 0o600 });
  const peer =
    (await bravo.run('wg', 'show', to, 'dump')).stdout.trim().split('\n')[1]?.split('\t') ?? [];
  const [old = '', psk = '', , allowed = ''] = peer;
  writeFileSync(join(bravo.dir, 'psk'), `${psk}\n`, { mode: 0o600 });
  await alpha.run('wg', 'set', at, 'private-key', file);
  const fresh = (await alpha.run('wg', 'show', at, 'public-key')).stdout.trim();
  await pause(500);
  await bravo.run(
    'wg',
    'set',
    to,
    'peer',
    old,
    'remove',
    'peer',
    fresh,
    'preshared-key',
    join(bravo.dir, 'psk'),
    'allowed-ips',
    allowed,
  );
}

const { values } = parseArgs({
  options: {
    rtt: { type: 'string', default: '0,60' },
    only: { type: 'string' },
    epoch: { type: 'boolean' },
  },
});
let worst = 0;
for (const rtt of values.rtt.split(',').map(Number)) {
  const dir = mkdtempSync(join(tmpdir(), 'kelmesh-rotation-'));
  const tag = `kr${process.pid % 100_000}`;
  await onGround(Sites.ground(tag, dir), async () =>
    measure(await Sites.build(tag, dir, rtt / 2), rtt),
  );
}

async function measure(sites: Sites, rtt: number): Promise<void> {
  await sites.up();
  console.log(`\nRTT ${rtt} ms, 1,000 packets/s each way`);
  const chosen = [...cases, ...(values.epoch === true ? [epochCase] : [])].filter(
    ({ name }) => values.only === undefined || name.includes(values.only),
  );
  for (const { name, seconds, act } of chosen) {
    await sites.ready();
    const { sent, lost } = await sites.stream(seconds, () => act(sites));
    worst = Math.max(worst, lost);
    console.log(`${name.padEnd(60)} ${String(lost).padStart(6)} of ${sent} lost`);
  }
  await sites.ready();
  for (const site of [sites.alpha, sites.bravo]) await site.stop(true);
  const { sent, lost } = await sites.stream(12, () => swapInPlace(sites));
  console.log(
    `${'baseline: key swapped in place'.padEnd(60)} ${String(lost).padStart(6)} of ${sent} lost`,
  );
  console.log(
    `ratio of the worst above to the baseline: ${(worst / Math.max(1, lost)).toFixed(3)}`,
  );
}
