/**
 * From `kelmesh up` to the first packet through the tunnel: the first start of a member that was just admitted, with
 * log, charter, agreement and keys; and a start after `kelmesh down`. Baseline in the same run: wireguard-go, `wg set` and
 * `ip` alone, with keys that are there already. Needs root, /dev/net/tun and wireguard-go.
 */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import {
  createMachines,
  eventually,
  type Machine,
  tunnelUp,
} from '../test/support/machines/federation.ts';

const ROUNDS = 5;
const PORT = 7_000;
const PROBE = fileURLToPath(new URL('../test/support/machines/first-echo.ts', import.meta.url));
const BUILT = fileURLToPath(new URL('../.tools/bin/wireguard-go', import.meta.url));
const WIREGUARD_GO = existsSync(BUILT) ? BUILT : 'wireguard-go';
const BARE = { device: 'bare0', a: 'fd00:ba7e::a', b: 'fd00:ba7e::b', port: 51_900 };

await using machines = await createMachines(['a', 'b']);
const [a, b] = [machines.get('a'), machines.get('b')];
const bare = await bareRounds();
await prepare();
const overlay = await overlayOf(a);
const server = await a.serve(overlay, PORT);
const first = await timed(overlay, () => b.ok('up'));
await tunnelUp(b);
const restarts: number[] = [];
for (let round = 0; round < ROUNDS; round++) {
  await b.ok('down');
  restarts.push(await timed(overlay, () => b.ok('up')));
  await tunnelUp(b);
}
await server.stop();
for (const machine of [a, b]) await machine.ok('down');

const baseline = median(bare);
console.log(`bare wireguard-go, wg set, ip: ${baseline.toFixed(0)} ms (median of ${ROUNDS})`);
console.log(`first start of a new member: ${first.toFixed(0)} ms, ratio ${ratio(first)}`);
console.log(
  `start after down: ${median(restarts).toFixed(0)} ms (median of ${ROUNDS}), ratio ${ratio(median(restarts))}`,
);

/** `b` is a member and has never run. */
async function prepare(): Promise<void> {
  for (const machine of [a, b])
    await machine.ok('init', '--name', machine.name, '--generate-secret');
  await a.ok('mesh', 'create', 'bench');
  await a.ok('up');
  await b.ok('mesh', 'join', (await a.ok('mesh', 'invite')).trim());
  await a.ok('mesh', 'admit', (await b.json('id', 'show')).aid, '--name', 'b', '--yes');
}

async function overlayOf(machine: Machine): Promise<string> {
  return eventually('the device is up', async () => (await machine.json('status')).overlay[0]);
}

/** Milliseconds from the call of `start` to the first echo from `address` at `b`. */
async function timed(address: string, start: () => Promise<unknown>): Promise<number> {
  const probe = b.spawn(new URL(`file://${PROBE}`), address, String(PORT));
  await probe.line();
  const began = performance.timeOrigin + performance.now();
  await start();
  return Number(await probe.line()) - began;
}

/** The same two ends with nothing but the tools of WireGuard. */
async function bareRounds(): Promise<readonly number[]> {
  const [keyA, keyB] = [await keyPair(a), await keyPair(b)];
  const psk = randomBytes(32).toString('base64');
  a.write('/etc/psk', psk);
  b.write('/etc/psk', psk);
  await ok(a, bringUp(BARE.a, keyB, `allowed-ips ${BARE.b}/128`, BARE.b));
  const server = await a.serve(BARE.a, PORT);
  const times: number[] = [];
  const peer = `endpoint ${a.address}:${BARE.port} allowed-ips ${BARE.a}/128`;
  for (let round = 0; round < ROUNDS; round++) {
    times.push(await timed(BARE.a, () => ok(b, bringUp(BARE.b, keyA, peer, BARE.a))));
    await ok(b, `ip link del ${BARE.device}`);
  }
  await server.stop();
  await ok(a, `ip link del ${BARE.device}`);
  return times;
}

function bringUp(own: string, peerKey: string, peer: string, route: string): string {
  return [
    `${WIREGUARD_GO} ${BARE.device} >/dev/null 2>&1`,
    `wg set ${BARE.device} listen-port ${BARE.port} private-key /etc/key peer ${peerKey} preshared-key /etc/psk ${peer}`,
    `ip -6 addr add ${own}/128 dev ${BARE.device}`,
    `ip link set ${BARE.device} up`,
    `ip -6 route add ${route}/128 dev ${BARE.device}`,
  ].join(' && ');
}

async function keyPair(machine: Machine): Promise<string> {
  return (await ok(machine, 'wg genkey > /etc/key && wg pubkey < /etc/key')).trim();
}

async function ok(machine: Machine, script: string): Promise<string> {
  const { code, stdout, stderr } = await machine.run('sh', '-c', script);
  if (code !== 0) throw new Error(`${script}: ${stderr}`);
  return stdout;
}

function median(times: readonly number[]): number {
  return [...times].sort((x, y) => x - y)[times.length >> 1] ?? Number.NaN;
}

function ratio(ms: number): string {
  return (ms / baseline).toFixed(1);
}
