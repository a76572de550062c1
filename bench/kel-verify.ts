/**
 * Verification of a single-signature log from bytes to key state: one core, two cores, `kelmesh id verify` as a
 * process, and KERIpy. Baseline: bare Ed25519 verification by sodium-native of the same events in the same run.
 *
 * The measured things take turns over short slices of the log, and ratios are medians over the slices, so that other
 * work on the machine meets all alike. "cpu" counts the processor time of the busiest thread: what two cores that have
 * nothing else to do would take.
 * `--memory N` in place of all that verifies a log of N events that is made on the way, and shows what it holds.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import sodium from 'sodium-native';
import { LogVerifier, type LogVerifierOptions } from '#kel/verify/log-verifier';
import { SignaturePool } from '#kel/verify/signature-pool';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { loadCryptoSuite } from '#src/crypto/suites';
import { Keripy, keripyMissing } from '../test/support/machines/keripy.ts';
import { type LoggedEvent, singleSignatureLog } from './kel-log.ts';

const EVENTS = 10_000;
const FILE_EVENTS = 40_000;
const KERIPY_EVENTS = 500;
const ROUNDS = 5;
const SLICE = 1_000;
const AGENT = fileURLToPath(new URL('../agent/main.ts', import.meta.url));

const { ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);

const memoryEvents = process.argv[2] === '--memory' ? Number(process.argv[3]) : 0;
if (memoryEvents > 0) showMemory(memoryEvents);
else {
  for (const kind of ['CBOR', 'JSON'] as const) oneAndTwoCores(kind);
  await againstKeripy(await asProcess());
}

interface Measured {
  /** Microseconds per event: of the clock, of this thread's processor time, of all other threads'. */
  readonly wall: number;
  readonly own: number;
  readonly others: number;
}

function oneAndTwoCores(kind: 'CBOR' | 'JSON'): void {
  const events = [...singleSignatureLog(ed25519, EVENTS, kind)];
  const slices = Array.from({ length: EVENTS / SLICE }, (_, i) => {
    const part = events.slice(i * SLICE, (i + 1) * SLICE);
    return { part, bytes: Buffer.concat(part.map(({ message }) => message)) };
  });
  const stream = Buffer.concat(slices.map(({ bytes }) => bytes));
  using batchRunner = new SignaturePool(ed25519, 1);
  verifyLog([stream], { batchRunner });
  const pairs: { bare: number; log: number }[] = [];
  const whole: { one: Measured; two: Measured }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const verifier = newVerifier({});
    for (const { part, bytes } of slices) {
      const bare = measure(() => bareVerify(part), SLICE).wall;
      pairs.push({ bare, log: measure(() => verifier.feed(bytes), SLICE).wall });
    }
    expectAccepted(verifier);
    whole.push({
      one: measure(() => verifyLog([stream], {}), EVENTS),
      two: measure(() => verifyLog([stream], { batchRunner }), EVENTS),
    });
  }
  const busiest = ({ own, others }: Measured) => Math.max(own, others);
  const one = median(pairs.map(({ bare, log }) => bare / log));
  const cpu = median(whole.map(({ one, two }) => one.own / busiest(two)));
  const wall = median(whole.map(({ one, two }) => one.wall / two.wall));
  console.log(`${kind}, ${EVENTS} events`);
  print('bare Ed25519, one core', 1e6 / median(pairs.map(({ bare }) => bare)), '(baseline)');
  print('log, one core', 1e6 / median(pairs.map(({ log }) => log)), `${one.toFixed(2)} x bare`);
  print(
    'log, two cores',
    1e6 / median(whole.map(({ two }) => two.wall)),
    `${cpu.toFixed(2)} x one core by cpu, ${wall.toFixed(2)} x by the clock`,
  );
}

function bareVerify(events: readonly LoggedEvent[]): void {
  for (const { bytes, signature, publicKey } of events) {
    // The library takes any byte array.
    const [s, m, k] = [signature as Buffer, bytes as Buffer, publicKey as Buffer];
    if (!sodium.crypto_sign_verify_detached(s, m, k))
      throw new Error('a signature of the bench does not verify');
  }
}

function newVerifier(options: LogVerifierOptions): LogVerifier {
  return new LogVerifier(verifySignature, { indexDigestSeals: false, ...options });
}

function verifyLog(chunks: readonly Uint8Array[], options: LogVerifierOptions): void {
  const verifier = newVerifier(options);
  for (const chunk of chunks) verifier.feed(chunk);
  expectAccepted(verifier);
}

function expectAccepted(verifier: LogVerifier): void {
  const { aids, refused } = verifier.finish();
  if (aids[0]?.sn !== EVENTS - 1 || refused.length > 0) throw new Error('the log was not accepted');
}

/** The command on a file, start of the process included; the bare rate of the same events beside it. */
async function asProcess(): Promise<number> {
  const directory = mkdtempSync(join(tmpdir(), 'bench-kel-verify-'));
  try {
    const events = [...singleSignatureLog(ed25519, FILE_EVENTS, 'CBOR')];
    const file = join(directory, 'log.cesr');
    writeFileSync(file, Buffer.concat(events.map(({ message }) => message)));
    const rounds = Array.from({ length: 3 }, () => {
      const bare = measure(() => bareVerify(events), FILE_EVENTS);
      const before = performance.now();
      const { status } = spawnSync(process.execPath, [AGENT, 'id', 'verify', file, '--json']);
      if (status !== 0) throw new Error(`kelmesh id verify ended with ${status}`);
      return { bare, wall: ((performance.now() - before) / FILE_EVENTS) * 1e3 };
    });
    const bare = 1e6 / median(rounds.map((round) => round.bare.wall));
    const rate = 1e6 / median(rounds.map((round) => round.wall));
    const ratio = median(rounds.map((round) => round.bare.wall / round.wall));
    console.log(`kelmesh id verify, ${FILE_EVENTS} events, wall`);
    print('bare Ed25519, one core', bare, '(baseline)');
    print('process, all cores', rate, `${ratio.toFixed(2)} x bare`);
    return rate;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function againstKeripy(rate: number): Promise<void> {
  const missing = await keripyMissing();
  if (missing !== undefined) {
    console.log(`KERIpy is not measured: ${missing}`);
    return;
  }
  await using keripy = new Keripy();
  const stream = Buffer.concat(
    [...singleSignatureLog(ed25519, KERIPY_EVENTS, 'CBOR')].map(({ message }) => message),
  );
  const { seconds, states } = await keripy.measure(stream);
  if (states[0]?.sn !== KERIPY_EVENTS - 1) throw new Error('KERIpy did not accept the log');
  const theirs = KERIPY_EVENTS / seconds;
  console.log(`KERIpy 1.1.17, ${KERIPY_EVENTS} events, its parsing and judging alone, logging off`);
  print('KERIpy', theirs, '(baseline)');
  print('kelmesh id verify', rate, `${(rate / theirs).toFixed(0)} x KERIpy`);
}

/** Run with a small heap: `node --max-old-space-size=64 bench/kel-verify.ts --memory 1000000`. */
function showMemory(events: number): void {
  const verifier = newVerifier({});
  const started = performance.now();
  let done = 0;
  let spent = 0;
  for (const { message } of singleSignatureLog(ed25519, events, 'CBOR')) {
    const before = performance.now();
    verifier.feed(message);
    spent += performance.now() - before;
    if (++done % Math.ceil(events / 8) === 0 || done === events) {
      const { heapUsed, arrayBuffers, rss } = process.memoryUsage();
      const mb = (bytes: number) => `${(bytes / 1e6).toFixed(1)} MB`;
      console.log(
        `${done} events, heap ${mb(heapUsed)}, beside the heap ${mb(arrayBuffers)}, process ${mb(rss)}`,
      );
    }
  }
  const [state] = verifier.finish().aids;
  if (state?.sn !== events - 1) throw new Error('the log was not accepted');
  const rate = (events / spent) * 1e3;
  console.log(
    `${events} events made and verified in ${((performance.now() - started) / 1e3).toFixed(0)} s; ${rate.toFixed(0)} /s, fed one by one`,
  );
}

/** Processor time counts every thread; what is not this one's is the others'. */
function measure(run: () => void, events: number): Measured {
  const [own, all, wall] = [process.threadCpuUsage(), process.cpuUsage(), performance.now()];
  run();
  const elapsed = performance.now() - wall;
  const mine = process.threadCpuUsage(own);
  const everyone = process.cpuUsage(all);
  const ownTime = mine.user + mine.system;
  const total = everyone.user + everyone.system;
  return {
    wall: (elapsed * 1e3) / events,
    own: ownTime / events,
    others: Math.max(0, total - ownTime) / events,
  };
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function print(what: string, perSecond: number, ratio: string): void {
  console.log(`  ${what.padEnd(24)} ${perSecond.toFixed(0)} /s  ${ratio}`);
}
