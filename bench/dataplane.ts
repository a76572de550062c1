/**
 * The data-plane program against stock wireguard-go of the same commit: processor time per gigabyte that crosses a tunnel, and
 * throughput, in alternating rounds of the same length (`--rounds`, default 5; `--seconds`, default 4). Both ends run the same
 * program. The processor time is that of the two programs alone, from /proc; throughput is what the receiver counted.
 * Needs root, /dev/net/tun, iperf3 and both programs in `.tools/bin`; works in network namespaces that it makes and removes.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs, promisify } from 'node:util';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { parseUdpEndpoint } from '#src/wireguard/values';
import { median } from './support/stats.ts';
import { deviceOfEnd } from './support/two-ends.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
  },
});
const rounds = Number(values.rounds);
const seconds = Number(values.seconds);
const toolsDir = new URL('../.tools', import.meta.url).pathname;
const programs = ['wireguard-go', 'kelmesh-dataplane'] as const;
const execute = promisify(execFile);
const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

interface Round {
  readonly cpuPerGigabyte: number;
  readonly megabitsPerSecond: number;
}

const results = new Map<string, Round[]>(programs.map((program) => [program, []]));
for (let round = 0; round < rounds; round++)
  // In turn, and in turn who begins: what warms up or gets busy meanwhile falls on both.
  for (const program of round % 2 === 0 ? programs : programs.toReversed())
    results.get(program)?.push(await measure(program));

console.log(`${rounds} alternating rounds of ${seconds} s, one TCP stream, MTU 1420; medians`);
const of = (program: string, pick: (round: Round) => number): number =>
  median((results.get(program) ?? []).map(pick));
for (const program of programs)
  console.log(
    `${program.padEnd(18)} ${of(program, (r) => r.cpuPerGigabyte).toFixed(2)} CPU s/GB, ` +
      `${of(program, (r) => r.megabitsPerSecond).toFixed(0)} Mbit/s`,
  );
const [stock, own] = programs;
const byCpu = of(stock, (r) => r.cpuPerGigabyte) / of(own, (r) => r.cpuPerGigabyte);
const byRate = of(own, (r) => r.megabitsPerSecond) / of(stock, (r) => r.megabitsPerSecond);
console.log(
  `${own} to ${stock}: ${byCpu.toFixed(2)} by CPU time per GB, ${byRate.toFixed(2)} by throughput`,
);

async function measure(program: string): Promise<Round> {
  const tag = `kd${process.pid}`;
  const ends = [`${tag}a`, `${tag}b`] as const;
  const dir = await mkdtemp(join(tmpdir(), 'kelmesh-dataplane-'));
  const ip = (...args: string[]) => execute('ip', args);
  try {
    for (const end of ends) await ip('netns', 'add', end);
    await ip(
      '-n',
      ends[0],
      'link',
      'add',
      'v0',
      'type',
      'veth',
      'peer',
      'name',
      'v0',
      'netns',
      ends[1],
    );
    for (const [i, end] of ends.entries()) {
      await ip('-n', end, 'addr', 'add', `10.9.9.${i + 1}/24`, 'dev', 'v0');
      for (const link of ['lo', 'v0']) await ip('-n', end, 'link', 'set', link, 'up');
      const driver = await chooseTunnelDriver({
        preference: 'userspace',
        program: join(toolsDir, 'bin', program),
        stateDir: join(dir, end),
        toolsDir,
        namespace: end,
      });
      const endpoint = parseUdpEndpoint(`10.9.9.${2 - i}:51820`);
      await driver.apply(deviceOfEnd(ends, i, { endpoint, keepalive: 0 }));
    }
    const pids = await Promise.all(
      ends.map(async (end) => Number(await readFile(join(dir, end, `${end}.pid`), 'utf8'))),
    );
    const server = spawn('ip', ['netns', 'exec', ends[1], 'iperf3', '-s', '-1', '-B', 'fd99::2'], {
      stdio: 'ignore',
    });
    await sleep(500);
    const before = await cpuSeconds(pids);
    const { stdout } = await execute('ip', [
      ...['netns', 'exec', ends[0], 'iperf3', '-c', 'fd99::2', '-t', String(seconds), '-J'],
    ]);
    const used = (await cpuSeconds(pids)) - before;
    server.kill();
    const { bytes, bits_per_second } = JSON.parse(stdout).end.sum_received;
    return { cpuPerGigabyte: used / (bytes / 1e9), megabitsPerSecond: bits_per_second / 1e6 };
  } finally {
    for (const end of ends) {
      const { stdout } = await ip('netns', 'pids', end).catch(() => ({ stdout: '' }));
      for (const pid of stdout.split('\n').filter(Boolean)) process.kill(Number(pid), 'SIGTERM');
    }
    await sleep(200);
    for (const end of ends) await ip('netns', 'del', end).catch(() => undefined);
    await rm(dir, { recursive: true, force: true });
  }
}

/** User and system time of the processes so far. */
async function cpuSeconds(pids: readonly number[]): Promise<number> {
  const all = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/stat`, 'utf8')));
  const ticks = all.map((text) => {
    // The name, in parentheses, may hold anything; utime and stime are the 12th and 13th behind it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return Number(fields[11]) + Number(fields[12]);
  });
  return ticks.reduce((sum, one) => sum + one, 0) / ticksPerSecond;
}
