/**
 * One handshake of Rosenpass (V02): processor time (getrusage) of both ends together, in memory, for 100 handshakes. Baselines of the same
 * run: the library of the Rust program driven in the same way, where `npm run test:rosenpass` has built it (it takes minutes); and the
 * operations that none can do without: two encapsulations and two decapsulations of McEliece, one key pair, encapsulation and decapsulation of
 * Kyber, and three hashes of a public key at each end. Then what an idle program and one that begins with 100 peers at once cost the
 * event loop (p99 of its delay), and memory with 100 and with 1,000 peers.
 */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { keyedHashes } from '#src/rosenpass/keyed-hash';
import { kyber512 } from '#src/rosenpass/kyber512';
import { RosenpassMachine } from '#src/rosenpass/machine';
import { makeKeyPair, type RosenpassKeyPair } from '#src/rosenpass/mceliece/key-pair';
import { McEliece460896 } from '#src/rosenpass/mceliece/mceliece';
import { parseRosenpassConfig } from '#src/rosenpass/program/config';
import { exchangeKeys } from '#src/rosenpass/program/exchange';
import { median } from './support/stats.ts';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const RUST = join(ROOT, '.tools/rosenpass/bin/rosenpass-bench');
const HANDSHAKES = 100;
const ROUNDS = 3;
/** Past the moment at which the initiator begins anew. */
const REKEY_MS = 131_000;
const LOOP_MS = 10_000;

const rng = { bytes: (length: number) => new Uint8Array(randomBytes(length)) };

class End {
  readonly machine: RosenpassMachine;
  readonly kem: McEliece460896;

  constructor(own: RosenpassKeyPair, peer: RosenpassKeyPair, name?: string) {
    this.kem = new McEliece460896(own.secretKey.expose(), () => own.publicKey, rng);
    const address = name === undefined ? {} : { address: { endpoint: name, source: name } };
    this.machine = new RosenpassMachine({
      kems: { staticKem: this.kem, ephemeralKem: kyber512 },
      ownPublicKey: own.publicKey,
      peers: [{ version: 'V02', publicKey: () => peer.publicKey, ...address }],
      rng,
    });
  }
}

function handshake(a: End, b: End, now: number): void {
  const from = { endpoint: 'x', source: 'x' };
  let [to, other] = [b, a];
  let effects = a.machine.poll(now);
  let keys = 0;
  while (effects.length > 0) {
    const sent = effects.find(({ kind }) => kind === 'send');
    keys += effects.filter(({ kind }) => kind === 'key').length;
    effects = sent?.kind === 'send' ? to.machine.handle(sent.datagram, from, now) : [];
    [to, other] = [other, to];
  }
  if (keys !== 2) throw new Error(`expected a key at each end, got ${keys}`);
}

function bareOperations(a: McEliece460896, publicKey: Uint8Array): void {
  const key = new Uint8Array(32);
  for (let i = 0; i < 2; i++) {
    a.decapsulate(a.encapsulate(publicKey).ciphertext);
    for (let j = 0; j < 3; j++) keyedHashes.V02(key, publicKey);
  }
  using ephemeral = kyber512.generate();
  const sealed = kyber512.encapsulate(ephemeral.publicKey);
  if (sealed !== undefined) ephemeral.decapsulate(sealed.ciphertext);
}

/** Milliseconds of processor time per call. */
function cpuOf(count: number, task: () => void): number {
  const before = process.resourceUsage();
  for (let i = 0; i < count; i++) task();
  const after = process.resourceUsage();
  const micros = (usage: NodeJS.ResourceUsage) => usage.userCPUTime + usage.systemCPUTime;
  return (micros(after) - micros(before)) / 1_000 / count;
}

function rustCpu(): number {
  const printed = execFileSync(RUST, [String(HANDSHAKES)], { encoding: 'utf8' });
  const { handshakes, micros } = JSON.parse(printed) as { handshakes: number; micros: number };
  return micros / 1_000 / handshakes;
}

async function processorTime(): Promise<void> {
  using one = await makeKeyPair(rng);
  using other = await makeKeyPair(rng);
  const [a, b] = [new End(one, other, 'b'), new End(other, one)];
  let now = 0;
  const ours = () => {
    handshake(a, b, now);
    now += REKEY_MS;
  };
  for (let i = 0; i < 20; i++) ours();
  const figures: Record<'ours' | 'bare' | 'rust', number[]> = { ours: [], bare: [], rust: [] };
  for (let round = 0; round < ROUNDS; round++) {
    figures.bare.push(cpuOf(HANDSHAKES, () => bareOperations(a.kem, one.publicKey)));
    figures.ours.push(cpuOf(HANDSHAKES, ours));
    if (existsSync(RUST)) figures.rust.push(rustCpu());
  }
  const [own, bare] = [median(figures.ours), median(figures.bare)];
  console.log(`bare operations (baseline)  ${bare.toFixed(2)} ms CPU`);
  console.log(
    `handshake, both ends  ${own.toFixed(2)} ms CPU  ${(own / bare).toFixed(2)} x baseline  ${(1_000 / own).toFixed(0)} a second and core`,
  );
  if (figures.rust.length === 0)
    console.log('the Rust library is not built here: npm run test:rosenpass builds it');
  else {
    const rust = median(figures.rust);
    console.log(`Rust library 0.2.3 (baseline)  ${rust.toFixed(2)} ms CPU`);
    console.log(`handshake, both ends  ${(own / rust).toFixed(2)} x the Rust library`);
  }
}

/** p99 of the delay of the event loop, milliseconds, while an exchange runs here. */
async function loopDelay(dir: string, peers: number, port: number): Promise<number> {
  const config = parseRosenpassConfig(configText(dir, peers, `127.0.0.1:${port}`));
  const stop = new AbortController();
  const delay = monitorEventLoopDelay({ resolution: 1 });
  const running = exchangeKeys(
    config,
    {
      ready: () => delay.enable(),
      key: () => undefined,
      // All peers have one key here, which is told.
      trouble: () => undefined,
      refused: () => undefined,
    },
    stop.signal,
  );
  running.catch(() => undefined);
  await Promise.race([running, sleep(LOOP_MS)]);
  delay.disable();
  stop.abort();
  await running;
  return delay.percentile(99) / 1e6;
}

async function eventLoop(dir: string): Promise<void> {
  // Somebody who takes everything and says nothing: each peer is written to again and again.
  const sink = createSocket('udp4');
  sink.bind(0, '127.0.0.1');
  await once(sink, 'listening');
  try {
    const idle = await loopDelay(dir, 0, sink.address().port);
    const busy = await loopDelay(dir, 100, sink.address().port);
    console.log(`event loop, no peer (control)  p99 ${idle.toFixed(2)} ms`);
    console.log(
      `event loop, 100 peers begun with at once  p99 ${busy.toFixed(2)} ms  ${(busy / idle).toFixed(2)} x control`,
    );
  } finally {
    sink.close();
  }
}

/** Resident memory of the program in MiB, once it listens. */
async function memory(dir: string, peers: number): Promise<number> {
  writeFileSync(join(dir, 'memory.toml'), configText(dir, peers));
  const main = join(ROOT, 'agent/main.ts');
  const flags = ['--disable-sigusr1', '--disable-warning=ExperimentalWarning'];
  const program = spawn(
    process.execPath,
    [...flags, main, 'rosenpass', 'exchange-config', join(dir, 'memory.toml')],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const end = once(program, 'close');
  try {
    await once(program.stderr, 'data');
    await sleep(2_000);
    const status = readFileSync(`/proc/${program.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) / 1_024;
  } finally {
    program.kill('SIGTERM');
    await end;
  }
}

/** All peers have one key: what is kept of each is the same as if they had one each. */
function configText(dir: string, peers: number, endpoint?: string): string {
  const own = [
    `public_key = "${join(dir, 'pk')}"`,
    `secret_key = "${join(dir, 'sk')}"`,
    'listen = ["127.0.0.1:0"]',
  ];
  const peer = [
    '[[peers]]',
    `public_key = "${join(dir, 'pk')}"`,
    ...(endpoint === undefined ? [] : [`endpoint = "${endpoint}"`]),
  ];
  return [...own, ...Array.from({ length: peers }, () => peer).flat()].join('\n');
}

await processorTime();
const dir = await mkdtemp(join(tmpdir(), 'kelmesh-bench-'));
try {
  using pair = await makeKeyPair(rng);
  writeFileSync(join(dir, 'pk'), pair.publicKey);
  writeFileSync(join(dir, 'sk'), pair.secretKey.expose(), { mode: 0o600 });
  await eventLoop(dir);
  const none = await memory(dir, 0);
  console.log(`memory, no peer (control)  ${none.toFixed(0)} MiB`);
  for (const peers of [100, 1_000]) {
    const held = await memory(dir, peers);
    console.log(
      `memory, ${peers} peers  ${held.toFixed(0)} MiB  ${(held / none).toFixed(2)} x control`,
    );
  }
} finally {
  await rm(dir, { recursive: true, force: true });
}
