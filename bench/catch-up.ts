/**
 * A newcomer catches up with 1,000 AIDs of 20 events each from one peer: one sync session over a stream in memory into a
 * store on disk. Baseline: verification alone of the same bytes in the same run, in turn; and how often an end waits for
 * the other, which is what distance would add.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import type { LogHead } from '#agent/mesh/sync/messages';
import { answerSession, openSession, type SyncContext } from '#agent/mesh/sync/session';
import type { Aid } from '#kel/identifiers';
import { LevelKelStore } from '#kel/store/level-kel-store';
import { LogVerifier } from '#kel/verify/log-verifier';
import { createSignatureVerifier } from '#kel/verify/signature-verifier';
import { concatBytes } from '#src/bytes';
import { loadCryptoSuite } from '#src/crypto/suites';
import { streamPair } from '../test/support/doubles/stream-pair.ts';
import { singleSignatureLog } from './kel-log.ts';

const AIDS = 1_000;
const EVENTS = 20;
const ROUNDS = 3;

const { ed25519 } = await loadCryptoSuite();
const verifySignature = createSignatureVerifier(ed25519);

interface HeldLog {
  readonly head: LogHead;
  readonly bytes: Uint8Array;
}

const logs = new Map<Aid, HeldLog>();
for (let i = 0; i < AIDS; i++) {
  const events = [...singleSignatureLog(ed25519, EVENTS, 'CBOR', `catch-up/${i}`)];
  const bytes = Buffer.concat(events.map(({ message }) => message));
  const [state] = verified([bytes]);
  if (state === undefined) throw new Error('the bench made a bad log');
  logs.set(state.aid, { head: { aid: state.aid, sn: state.sn, said: state.said }, bytes });
}
const giver = [...logs.values()][0] as HeldLog;
const streams = [...logs.values()].map(({ bytes }) => bytes);

const directory = await mkdtemp(join(tmpdir(), 'bench-catch-up-'));
try {
  const rounds: { verify: number; caughtUp: number }[] = [];
  let turns = 0;
  for (let round = 0; round < ROUNDS; round++) {
    const verify = await secondsOf(async () => {
      if (verified([concatBytes(...streams)]).length !== AIDS) throw new Error('not verified');
    });
    const db = new Level(join(directory, String(round)));
    const store = await LevelKelStore.open(db, { verifySignature, clock: { now: () => 0 } });
    const caughtUp = await secondsOf(async () => {
      turns = await catchUp(store);
    });
    if (store.aids().length !== AIDS) throw new Error('not caught up');
    await store.close();
    await db.close();
    rounds.push({ verify, caughtUp });
  }
  const events = AIDS * EVENTS;
  const rate = (which: 'verify' | 'caughtUp') => events / median(rounds.map((one) => one[which]));
  const ratio = median(rounds.map(({ verify, caughtUp }) => verify / caughtUp));
  console.log(`${AIDS} AIDs of ${EVENTS} events, from one peer`);
  console.log(`  verification alone      ${rate('verify').toFixed(0)} /s  (baseline)`);
  console.log(`  one session, durable    ${rate('caughtUp').toFixed(0)} /s  ${ratio.toFixed(2)} x`);
  console.log(`  waits for the other end ${turns}, however many AIDs there are`);
} finally {
  await rm(directory, { recursive: true, force: true });
}

/** @returns how often the newcomer sent something after it had received something: round trips */
async function catchUp(store: LevelKelStore): Promise<number> {
  const [newcomer, other] = streamPair();
  const trace: string[] = [];
  for (const [name, stream] of Object.entries({ newcomer, other })) {
    const send = stream.send.bind(stream);
    stream.send = (message) => {
      trace.push(name);
      return send(message);
    };
  }
  await Promise.all([
    openSession(newcomer, contextOf(new Map(), store)),
    answerSession(other, contextOf(logs, undefined)),
  ]);
  return trace.filter((name, i) => name === 'newcomer' && trace[i - 1] !== name).length;
}

function contextOf(held: ReadonlyMap<Aid, HeldLog>, store: LevelKelStore | undefined): SyncContext {
  const nothing = new Uint8Array(0);
  return {
    ownHead: () => giver.head,
    mesh: () => '',
    now: () => 0,
    want: () => 0,
    ownLog: async () => nothing,
    ownEndpoints: async () => nothing,
    bind: async () => true,
    revocationOf: async () => ({ revocation: nothing, log: nothing }),
    refused: async () => {},
    heads: () => [...held.values()].map(({ head }) => head),
    records: () => [],
    log: async (aid) => held.get(aid)?.bytes ?? nothing,
    record: async () => undefined,
    receiveLogs: async (_from, received) => {
      await store?.process(concatBytes(...received));
    },
    receiveRecords: async () => {},
    clockSeen: () => {},
  };
}

function verified(chunks: readonly Uint8Array[]) {
  const verifier = new LogVerifier(verifySignature);
  for (const chunk of chunks) verifier.feed(chunk);
  return verifier.finish().aids;
}

async function secondsOf(task: () => Promise<void>): Promise<number> {
  const before = process.hrtime.bigint();
  await task();
  return Number(process.hrtime.bigint() - before) / 1e9;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] as number;
}
