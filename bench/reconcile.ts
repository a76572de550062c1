/**
 * Reconciling 1,000 peers on one device, against the bare UAPI exchange of the same bytes on a device of its own.
 * Needs root, /dev/net/tun and wireguard-go; works in a network namespace that it makes and removes.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '#src/secret';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { diffDevice } from '#src/wireguard/diff';
import { wireguardPrivateKey, wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { DesiredDevice, DeviceState } from '#src/wireguard/tunnel-driver';
import { encodeGet, encodeSet, parseSetReply } from '#src/wireguard/uapi';
import { exchangeUapi } from '#src/wireguard/uapi-socket';
import { parseCidr, parseInterfaceName, parseUdpEndpoint } from '#src/wireguard/values';
import { onGround } from './support/ground.ts';

const PEERS = 1000;
const ROUNDS = 15;

const hash = (text: string) => createHash('sha256').update(text).digest();
const privateKey = wireguardPrivateKey(new Secret(hash('device')));
const peers = Array.from({ length: PEERS }, (_, i) => ({
  publicKey: wireguardPublicKeyHex(new Secret(hash(`peer ${i}`))),
  presharedKey: new Secret(hash(`psk ${i}`)),
  endpoint: parseUdpEndpoint(`192.0.2.${(i % 250) + 1}:${10_000 + i}`),
  allowedIps: [parseCidr(`10.${i >> 8}.${i & 255}.0/24`), parseCidr(`fd00::${i.toString(16)}/128`)],
  keepalive: 0,
}));

const device = (name: string, listenPort: number): DesiredDevice => ({
  name: parseInterfaceName(name),
  privateKey,
  listenPort,
  mtu: 1420,
  addresses: [],
  peers,
  routes: [],
});

const namespace = `kmbench${process.pid}`;
const [ours, bare] = [device(`kb${process.pid}a0`, 51_820), device(`kb${process.pid}b0`, 51_821)];
const stateDir = await mkdtemp(join(tmpdir(), 'kelmesh-bench-'));
const ground = {
  namespaces: [namespace],
  interfaces: [`kb${process.pid}a`, `kb${process.pid}b`],
  dir: stateDir,
};
await onGround(ground, async () => {
  execFileSync('ip', ['netns', 'add', namespace]);
  const toolsDir = new URL('../.tools', import.meta.url).pathname;
  const driver = await chooseTunnelDriver({
    preference: 'userspace',
    stateDir,
    toolsDir,
    namespace,
    // As the agent does: what somebody takes from a link is noticed by other means (`damaged`), and comes back at once.
    linkTrustMs: 30_000,
  });
  console.log(`driver: ${driver.description}; ${PEERS} peers, median of ${ROUNDS} rounds`);
  await driver.apply({ ...ours, peers: [] });
  await driver.apply({ ...bare, peers: [] });
  const empty = await stateOf(bare);
  const socket = `/var/run/wireguard/${bare.name}.sock`;
  const set = (change: ReturnType<typeof diffDevice>) => {
    const request = encodeSet(change);
    return timed(() => exchangeUapi(socket, request, parseSetReply));
  };

  const all = diffDevice(bare, empty, new Map(), 0);
  report('add all peers', [await timed(() => driver.apply(ours))], [await set(all)], 'bare set');

  const noop = await repeat(() => timed(() => driver.apply(ours)));
  const get = await repeat(() => timed(() => exchangeUapi(socket, encodeGet(), () => undefined)));
  report('apply again, no change', noop, get, 'bare get');

  const changes = await repeat((round) => timed(() => driver.apply(withPsk(ours, round))));
  const full = await stateOf(bare);
  const one = await repeat((round) => set(diffDevice(withPsk(bare, round), full, new Map(), 0)));
  report(
    'change one PSK',
    changes,
    get.map((ms, i) => ms + (one[i] ?? 0)),
    'bare get and set',
  );

  const pure = await repeat((round) =>
    timed(async () => diffDevice(withPsk(bare, round), full, new Map(), 0)),
  );
  console.log(`the difference alone: ${median(pure).toFixed(2)} ms`);

  async function stateOf({ name }: DesiredDevice): Promise<DeviceState> {
    const state = await driver.read(name);
    if (!state) throw new Error(`no device ${name}`);
    return state;
  }
  await driver.remove(ours.name);
  await driver.remove(bare.name);
});

function withPsk(desired: DesiredDevice, round: number): DesiredDevice {
  const presharedKey = new Secret(hash(`next ${round}`));
  return {
    ...desired,
    peers: desired.peers.map((peer, i) => (i === 7 ? { ...peer, presharedKey } : peer)),
  };
}

async function timed(task: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await task();
  return performance.now() - start;
}

async function repeat(task: (round: number) => Promise<number>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) times.push(await task(round));
  return times;
}

function median(times: readonly number[]): number {
  return [...times].sort((a, b) => a - b)[times.length >> 1] ?? Number.NaN;
}

function report(what: string, times: number[], baseline: number[], name: string): void {
  const [mine, theirs] = [median(times), median(baseline)];
  const ratio = (mine / theirs).toFixed(2);
  console.log(`${what}: ${mine.toFixed(2)} ms, ${name} ${theirs.toFixed(2)} ms, ratio ${ratio}`);
}
