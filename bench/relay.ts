/**
 * A tunnel whose ciphertext goes through the relay of the data-plane program, as a ratio to the same tunnel on its direct way: three
 * namespaces on one bridge, the relay in the third; alternating rounds of one TCP stream (`--rounds`, default 3; `--seconds`, default
 * 3). Then packets lost when both ends change from the relay to the direct way at one moment, 1,000 a second each way. All of it is one machine: the
 * relay takes processor time that its own machine would have. Needs root, /dev/net/tun, iperf3 and the program in `.tools/bin`.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import type { DesiredDevice, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { exchangeUapi } from '#src/wireguard/uapi-socket';
import { parseUdpEndpoint } from '#src/wireguard/values';
import { median } from './support/stats.ts';
import { deviceOfEnd } from './support/two-ends.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '3' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const toolsDir = new URL('../.tools', import.meta.url).pathname;
const program = join(toolsDir, 'bin', 'kelmesh-dataplane');
const execute = promisify(execFile);
const tag = `kr${process.pid}`;
const spaces = [`${tag}a`, `${tag}b`, `${tag}r`] as const;
const dir = await mkdtemp(join(tmpdir(), 'kelmesh-relay-'));
const ip = (...args: string[]) => execute('ip', args);

try {
  await layOut();
  const drivers: TunnelDriver[] = [];
  for (const space of spaces.slice(0, 2))
    drivers.push(
      await chooseTunnelDriver({
        preference: 'userspace',
        program,
        stateDir: join(dir, space),
        toolsDir,
        namespace: space,
      }),
    );
  const ports = await openRelay();
  const ways = {
    direct: ['10.9.9.2:51820', '10.9.9.1:51820'],
    relayed: [`10.9.9.3:${ports[0]}`, `10.9.9.3:${ports[1]}`],
  } as const;
  const results = { direct: [] as number[], relayed: [] as number[] };
  for (let round = 0; round < rounds; round++)
    for (const way of round % 2 === 0
      ? (['direct', 'relayed'] as const)
      : (['relayed', 'direct'] as const)) {
      for (const [i, driver] of drivers.entries()) await driver.remove(deviceOf(i, '').name);
      for (const [i, driver] of drivers.entries())
        await driver.apply(deviceOf(i, ways[way][i] ?? ''));
      results[way].push(await throughput());
    }
  const { lost, sent } = await upgrade(drivers, ways);
  for (const [i, driver] of drivers.entries()) await driver.remove(deviceOf(i, '').name);
  const direct = median(results.direct);
  const relayed = median(results.relayed);
  console.log(`${rounds} alternating rounds of ${seconds} s, one TCP stream, MTU 1420; medians`);
  console.log(`direct    ${direct.toFixed(0)} Mbit/s`);
  console.log(`relayed   ${relayed.toFixed(0)} Mbit/s, in the process of the relay`);
  console.log(`relayed to direct: ${(relayed / direct).toFixed(2)}`);
  console.log(`lost on the change from relayed to direct: ${lost} of ${sent} packets`);
} finally {
  for (const space of spaces) {
    const { stdout } = await ip('netns', 'pids', space).catch(() => ({ stdout: '' }));
    for (const pid of stdout.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGTERM');
  }
  await sleep(200);
  for (const space of spaces) await ip('netns', 'del', space).catch(() => undefined);
  await rm(dir, { recursive: true, force: true });
}

/** One segment, whose bridge stands in the relay's namespace. */
async function layOut(): Promise<void> {
  for (const space of spaces) await ip('netns', 'add', space);
  const [a, b, relay] = spaces;
  await ip('-n', relay, 'link', 'add', 'br0', 'type', 'bridge');
  for (const [i, space] of [a, b].entries()) {
    const ends = ['name', `v${i}`, 'type', 'veth', 'peer', 'name', 'v0', 'netns', space];
    await ip('-n', relay, 'link', 'add', ...ends);
    await ip('-n', relay, 'link', 'set', `v${i}`, 'master', 'br0', 'up');
    await ip('-n', space, 'addr', 'add', `10.9.9.${i + 1}/24`, 'dev', 'v0');
    for (const link of ['lo', 'v0']) await ip('-n', space, 'link', 'set', link, 'up');
  }
  await ip('-n', relay, 'addr', 'add', '10.9.9.3/24', 'dev', 'br0');
  for (const link of ['lo', 'br0']) await ip('-n', relay, 'link', 'set', link, 'up');
}

async function openRelay(): Promise<readonly number[]> {
  const socket = join(dir, 'relay.sock');
  spawn('ip', ['netns', 'exec', spaces[2], program, 'relay', socket], { stdio: 'ignore' });
  await sleep(500);
  const terms = 'quota_bytes=1000000000000\nrate_bytes=10000000000\nidle_seconds=600\n\n';
  const request = Buffer.from(`open=bench\nend=10.9.9.1\nend=10.9.9.2\n${terms}`);
  const answer = await exchangeUapi(socket, request, (reply) => Buffer.from(reply).toString());
  return [...answer.matchAll(/^port=(\d+)$/gm)].map(([, port]) => Number(port));
}

/** Mbit/s that the receiver has counted. */
async function throughput(): Promise<number> {
  const [from, to] = spaces;
  const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '-s', '-1', '-B', 'fd99::2'], {
    stdio: 'ignore',
  });
  await sleep(1_000);
  const { stdout } = await execute('ip', [
    ...['netns', 'exec', from, 'iperf3', '-c', 'fd99::2', '-t', String(seconds), '-J'],
  ]);
  server.kill();
  return JSON.parse(stdout).end.sum_received.bits_per_second / 1e6;
}

/** As `agent/tunnel/reach/search.ts` does it: the endpoint is written, and again while packets are under way on the former way. */
async function upgrade(
  drivers: readonly TunnelDriver[],
  ways: { readonly direct: readonly string[]; readonly relayed: readonly string[] },
): Promise<{ readonly lost: number; readonly sent: number }> {
  for (const [i, driver] of drivers.entries()) await driver.remove(deviceOf(i, '').name);
  const apply = (way: readonly string[], insists: boolean) =>
    Promise.all(drivers.map((driver, i) => driver.apply(deviceOf(i, way[i] ?? '', insists))));
  await apply(ways.relayed, false);
  const [from, to] = spaces;
  const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '-s', '-1', '-B', 'fd99::2'], {
    stdio: 'ignore',
  });
  await sleep(1_000);
  const stream = ['-u', '--bidir', '-l', '500', '-b', '4M', '-t', '6', '-J'];
  const measured = execute('ip', ['netns', 'exec', from, 'iperf3', '-c', 'fd99::2', ...stream]);
  for (const pause of [2_000, 200, 600, 1_200]) {
    await sleep(pause);
    await apply(ways.direct, true);
  }
  const { end } = JSON.parse((await measured).stdout);
  server.kill();
  for (const [i, driver] of drivers.entries()) {
    const [peer] = [...((await driver.peers(deviceOf(i, '').name))?.values() ?? [])];
    if (peer?.endpoint !== ways.direct[i])
      throw new Error(`expected the direct way, got ${peer?.endpoint}`);
  }
  const sums = [end.sum, end.sum_bidir_reverse].filter((sum) => sum !== undefined);
  const total = (pick: 'lost_packets' | 'packets') => sums.reduce((all, sum) => all + sum[pick], 0);
  return { lost: total('lost_packets'), sent: total('packets') };
}

function deviceOf(i: number, endpoint: string, insists = false): DesiredDevice {
  const way = endpoint === '' ? {} : { endpoint: parseUdpEndpoint(endpoint), insists };
  // Both begin at once, as both ends of a way do.
  return deviceOfEnd(spaces, i, { ...way, keepalive: 25 });
}
