/**
 * Key events into a store on disk, durable, against verification alone in the same run.
 * Baseline: `LogVerifier` over the same stream, which parses, verifies and evaluates and writes nothing.
 * Figures: median of {@link ROUNDS} rounds, both measured in turn.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { blake3Digest } from '#kel/cesr/digest';
import { buildInception } from '#kel/event/inception';
import { buildInteraction } from '#kel/event/interaction';
import { keyDigest } from '#kel/event/key-digest';
import { digestSeal } from '#kel/event/seal';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { Said } from '#kel/identifiers';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { utf8 } from '#src/bytes';
import { sha256 } from '#src/crypto/hash';
import { loadCryptoSuite } from '#src/crypto/suites';

const EVENTS = 1000;
const ROUNDS = 7;

const { name, ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);

const messages = makeLog();
const stream = Buffer.concat(messages);
const directory = await mkdtemp(join(tmpdir(), 'bench-kel-store-'));
try {
  const verified: number[] = [];
  const stored: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    verified.push(await secondsOf(async () => verifyOnly()));
    stored.push(await storeAll(join(directory, String(round)), [stream]));
  }
  const single = await storeAll(join(directory, 'single'), messages.slice(0, 200));
  print('verify only', EVENTS / median(verified));
  print('one stream, durable', EVENTS / median(stored));
  print('one event per call, durable', 200 / single);
  console.log(`ratio stream to verify only: ${(median(verified) / median(stored)).toFixed(2)}`);
  console.log(`${ROUNDS} rounds of ${EVENTS} interactions with one seal, suite ${name}`);
} finally {
  await rm(directory, { recursive: true, force: true });
}

function makeLog(): readonly Uint8Array[] {
  const seed = sha256(utf8('bench'));
  const key = encodeVerificationKey('ed25519', ed25519.publicKey(seed));
  const signed = (bytes: Uint8Array) =>
    encodeSignedEvent(bytes, [{ index: 0, raw: ed25519.sign(bytes, seed) }]);
  const inception = buildInception({ keys: [key], nextDigests: [keyDigest(key)] });
  const log = [signed(inception.bytes)];
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(log[0] as Uint8Array);
  let prior = verifier.state(inception.aid);
  while (log.length < EVENTS && prior !== undefined) {
    const seal = digestSeal(blake3Digest(utf8(`record ${log.length}`)) as Said);
    const event = buildInteraction({ prior, anchors: [seal] });
    log.push(signed(event.bytes));
    prior = { ...prior, sn: event.sn, said: event.said, eventType: 'ixn' };
  }
  return log;
}

function verifyOnly(): void {
  const verifier = new LogVerifier(verifySignature);
  verifier.feed(stream);
  const [state] = verifier.finish().aids;
  if (state?.sn !== EVENTS - 1) throw new Error('the log does not verify');
}

async function storeAll(path: string, calls: readonly Uint8Array[]): Promise<number> {
  const db = new Level(path);
  const store = await LevelKelStore.open(db, { verifySignature, clock: { now: () => 0 } });
  const seconds = await secondsOf(async () => {
    for (const call of calls) await store.process(call);
  });
  await store.close();
  await db.close();
  return seconds;
}

async function secondsOf(task: () => Promise<void>): Promise<number> {
  const before = process.hrtime.bigint();
  await task();
  return Number(process.hrtime.bigint() - before) / 1e9;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}

function print(what: string, perSecond: number): void {
  console.log(`${what}: ${Math.round(perSecond)} events/s`);
}
