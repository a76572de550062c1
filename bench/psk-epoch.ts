/**
 * One epoch of preshared keys for all peers of one device: the driver, which reads the device and writes what differs,
 * against the bare UAPI write of the same keys in one transaction. What comes before it is measured apart: deriving the
 * keys of the epoch from their chains, each chain durable before its key is used.
 *
 *   node bench/psk-epoch.ts [--peers=1000]
 *
 * Wall clock, median of the rounds. Needs root, /dev/net/tun and wireguard-go; works in a network namespace that it makes
 * and removes.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Level } from 'level';
import { systemRng } from '#agent/compose';
import { AgreementStore, type PairKey, pairKey } from '#agent/tunnel/agreement/agreement-store';
import { chainAt, presharedKey } from '#agent/tunnel/agreement/chain';
import { requiredContributions } from '#agent/tunnel/agreement/policy';
import { type PairEnd, pairOf } from '#agent/tunnel/agreement/terms';
import type { Aid, Said } from '#kel/identifiers';
import { Secret } from '#src/secret';
import { chooseTunnelDriver } from '#src/wireguard/detect';
import { diffDevice } from '#src/wireguard/diff';
import { wireguardPrivateKey, wireguardPublicKeyHex } from '#src/wireguard/static-key';
import type { DesiredDevice, TunnelDriver } from '#src/wireguard/tunnel-driver';
import { encodeGet, encodeSet, parseSetReply } from '#src/wireguard/uapi';
import { exchangeUapi } from '#src/wireguard/uapi-socket';
import { parseCidr, parseInterfaceName, parseUdpEndpoint } from '#src/wireguard/values';
import { onGround } from './support/ground.ts';
import { ip } from './support/site.ts';
import { median } from './support/stats.ts';

const ROUNDS = 7;
const BASE_EPOCH = 1_000;

const { values } = parseArgs({ options: { peers: { type: 'string', default: '1000' } } });
const count = Number(values.peers);
const namespace = `kp${process.pid}`;
const dir = mkdtempSync(join(tmpdir(), 'kelmesh-epoch-'));
const names = { ours: `kp${process.pid}a0`, bare: `kp${process.pid}b0` };

const hash = (text: string) => createHash('sha256').update(text).digest();

await onGround(
  {
    namespaces: [namespace],
    interfaces: Object.values(names).map((name) => name.slice(0, -1)),
    dir,
  },
  async () => {
    await ip('netns', 'add', namespace);
    const toolsDir = new URL('../.tools', import.meta.url).pathname;
    const driver = await chooseTunnelDriver({
      preference: 'userspace',
      stateDir: join(dir, 'devices'),
      toolsDir,
      namespace,
    });
    console.log(`${count} peers on one device, ${driver.description}; median of ${ROUNDS} rounds`);
    await writes(driver);
    await derivation();
  },
);

/** A device whose peers have the preshared keys of `epoch`. */
function device(name: string, listenPort: number): (epoch: number) => DesiredDevice {
  const privateKey = wireguardPrivateKey(new Secret(hash('device')));
  const peers = Array.from({ length: count }, (_, i) => ({
    publicKey: wireguardPublicKeyHex(new Secret(hash(`peer ${i}`))),
    endpoint: parseUdpEndpoint(`192.0.2.${(i % 250) + 1}:${10_000 + i}`),
    allowedIps: [parseCidr(`fd00::${i.toString(16)}/128`)],
    keepalive: 0,
  }));
  return (epoch) => ({
    name: parseInterfaceName(name),
    privateKey,
    listenPort,
    mtu: 1420,
    addresses: [],
    peers: peers.map((peer, i) => ({
      ...peer,
      presharedKey: new Secret(hash(`psk ${i} ${epoch}`)),
    })),
    routes: [],
  });
}

async function writes(driver: TunnelDriver): Promise<void> {
  const [ours, bare] = [device(names.ours, 51_820), device(names.bare, 51_821)];
  const socket = `/var/run/wireguard/${names.bare}.sock`;
  const times = { write: [], get: [], peers: [], apply: [] } as {
    [step in 'write' | 'get' | 'peers' | 'apply']: number[];
  };
  let epoch = BASE_EPOCH;
  for (const desired of [ours, bare]) await driver.apply(desired(epoch));
  for (let round = 0; round < ROUNDS; round++) {
    epoch += 1;
    const state = await driver.read(parseInterfaceName(names.bare));
    if (state === undefined) throw new Error(`no device ${names.bare}`);
    const change = diffDevice(bare(epoch), state, new Map(), 0);
    if (change.peers.some(({ presharedKey }) => presharedKey === undefined))
      throw new Error('expected every preshared key to change');
    const request = encodeSet(change);
    times.write.push(await timed(() => exchangeUapi(socket, request, parseSetReply)));
    times.get.push(await timed(() => exchangeUapi(socket, encodeGet(), () => undefined)));
    const next = ours(epoch);
    times.peers.push(await timed(() => driver.applyPeers(next)));
    await check(driver, next);
    epoch += 1;
    const after = ours(epoch);
    times.apply.push(await timed(() => driver.apply(after)));
    await check(driver, after);
  }
  const write = median(times.write);
  const both = write + median(times.get);
  console.log(`bare UAPI write, one transaction: ${write.toFixed(2)} ms`);
  console.log(`bare UAPI read and write: ${both.toFixed(2)} ms`);
  for (const [name, ms] of [
    ['driver, peers only', median(times.peers)],
    ['driver, whole device', median(times.apply)],
  ] as const)
    console.log(
      `${name}: ${ms.toFixed(2)} ms, ${(ms / write).toFixed(2)} of the bare write, ${(ms / both).toFixed(2)} of the bare read and write`,
    );
}

/** Throws when a preshared key is not the desired one. */
async function check(driver: TunnelDriver, desired: DesiredDevice): Promise<void> {
  const state = await driver.read(desired.name);
  for (const { publicKey, presharedKey } of desired.peers)
    if (state?.peers.get(publicKey)?.presharedKey.equals(presharedKey) !== true)
      throw new Error('a preshared key was not written');
}

async function derivation(): Promise<void> {
  const db = new Level(join(dir, 'db'));
  await db.open();
  try {
    const kek = Secret.take(randomBytes(32));
    const store = await AgreementStore.open(db, kek, systemRng);
    const keys: PairKey[] = [];
    for (let i = 0; i < count; i++) {
      const pair = pairOf('mesh', end(0), end(i + 1));
      const chain = Secret.take(randomBytes(32));
      const policy = {
        contributions: requiredContributions,
        epochSeconds: 120,
        baseEpoch: BASE_EPOCH,
      };
      await store.put({ ...policy, pair, th: hash(`th ${i}`), chain });
      keys.push(pairKey(pair));
    }
    const bare = await timed(async () => {
      let position = { epoch: BASE_EPOCH, chain: Secret.take(randomBytes(32)) };
      for (let epoch = BASE_EPOCH; epoch < BASE_EPOCH + count; epoch++) {
        position = chainAt(position, epoch + 1);
        presharedKey(position.chain)[Symbol.dispose]();
      }
    });
    const oneByOne = await timed(async () => {
      for (const key of keys) (await store.advance(key, BASE_EPOCH + 1)).psk[Symbol.dispose]();
    });
    const together = await timed(async () => {
      const due = keys.map((key) => [key, BASE_EPOCH + 2] as const);
      for (const { psk } of await store.advanceAll(due)) psk[Symbol.dispose]();
    });
    console.log(
      `keys of the epoch from ${count} chains, sealed and durable in one write: ${together.toFixed(1)} ms, ${(together / oneByOne).toFixed(3)} of one write each (${oneByOne.toFixed(1)} ms); in memory ${bare.toFixed(1)} ms`,
    );
  } finally {
    await db.close();
  }
}

function end(n: number): PairEnd {
  const name = n.toString().padStart(43, '0');
  const said = `E${name}` as Said;
  return { aid: `E${name}` as Aid, establishment: { sn: 0, said }, tunnelRecord: said };
}

async function timed(task: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await task();
  return performance.now() - start;
}
