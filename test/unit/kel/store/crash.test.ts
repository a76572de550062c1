import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { Level } from 'level';
import { describe, it } from 'mocha';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { KeyState } from '#kel/key-state/key-state';
import { LevelKelStore } from '#kel/store/level-kel-store';
import type { WriteFailure } from '../../../support/kit/failing-level.ts';
import { Organisation, type TestKey, verifySignature } from '../../../support/kit/key-log.ts';
import { digest } from '../../../support/kit/record-samples.ts';
import {
  openStore,
  replays,
  type StoreKit,
  signature,
  signedBy,
  statesOf,
} from '../../../support/kit/store-kit.ts';

/** One message per kind of write: accept, escrow, release, more signatures, supersede, evidence. */
function scenario(): { readonly messages: readonly Uint8Array[]; readonly states: object } {
  const org = new Organisation('one');
  org.incept({ keyCount: 3, signingThreshold: '2', nextThreshold: '2' });
  org.anchor([digestSeal(digest('D') as Said)]);
  org.anchor();
  const [icp, first, second] = org.steps as [(typeof org.steps)[0], ...typeof org.steps];
  const keys = org.keys(0, 3) as [TestKey, TestKey, TestKey];
  const signatures = keys.map((key, index) => signature(icp, key, index));
  const recovered = org.fork(2);
  const rotation = recovered.rotate();
  const next = recovered.anchor();
  const contradiction = org.fork(1).anchor([digestSeal(digest('E') as Said)]);
  return {
    messages: [
      second?.message,
      signedBy(icp, signatures.slice(0, 1)),
      signedBy(icp, signatures.slice(1, 2)),
      signedBy(icp, signatures.slice(2)),
      first?.message,
      contradiction.message,
      Buffer.concat([rotation.message, next.message]),
    ] as Uint8Array[],
    states: { [org.aid]: recovered.state },
  };
}

async function run(store: LevelKelStore, messages: readonly Uint8Array[]): Promise<void> {
  for (const message of messages) await store.process(message);
}

function recordTold(store: LevelKelStore): string[] {
  const told: string[] = [];
  store.subscribe(({ sn, said }: KeyState) => told.push(`${sn} ${said}`));
  return told;
}

/** What was told is on disk, and what is on disk evaluates to itself. */
async function expectConsistent(store: LevelKelStore, told: readonly string[]): Promise<void> {
  assert.ok((await replays(store)) >= told.length);
}

describe('log store after a failed write', () => {
  const { messages, states } = scenario();

  async function failAt(write: number, kind: WriteFailure): Promise<StoreKit & { told: string[] }> {
    const kit = await openStore();
    const told = recordTold(kit.store);
    kit.db.failAt(write, kind);
    await assert.rejects(run(kit.store, messages), { code: 'STORE_WRITE_FAILED' });
    kit.db.heal();
    return { ...kit, told };
  }

  it('has a write for every step of the scenario', async () => {
    const { store, db } = await openStore();
    await run(store, messages);
    assert.equal(db.writes, messages.length);
    assert.deepEqual(statesOf(store), states);
    assert.equal((await store.duplicities()).length, 1);
  });

  for (const kind of ['lost', 'persisted'] as const) {
    for (let write = 1; write <= messages.length; write++) {
      it(`write ${write} ${kind}: another process goes on from a consistent disk`, async () => {
        const { reopen, told } = await failAt(write, kind);
        const store = await reopen();
        await expectConsistent(store, told);
        await run(store, messages);
        assert.deepEqual(statesOf(store), states);
        await replays(store);
        assert.equal((await store.duplicities()).length, 1);
      });

      it(`write ${write} ${kind}: the same process reads the disk again and tells everything once`, async () => {
        const { store, told, reopen } = await failAt(write, kind);
        await run(store, messages);
        assert.deepEqual(statesOf(store), states);
        assert.deepEqual(new Set(told).size, told.length);
        const undisturbed = await openStore();
        const expected = recordTold(undisturbed.store);
        await run(undisturbed.store, messages);
        assert.deepEqual(told, expected);
        assert.deepEqual(statesOf(await reopen()), states);
      });
    }
  }

  it('has told only what is durable when a long stream fails half-way', async () => {
    const org = new Organisation('long');
    org.incept();
    for (let i = 0; i < 600; i++) org.anchor();
    const { store, db, reopen } = await openStore();
    const told = recordTold(store);
    db.failAt(2, 'lost');
    await assert.rejects(store.process(org.stream), { code: 'STORE_WRITE_FAILED' });
    db.heal();
    assert.equal(told.length, 256);
    assert.equal(store.state(org.aid)?.sn, 255);
    assert.equal((await reopen()).state(org.aid)?.sn, 255);
    await store.process(org.stream);
    assert.equal(told.length, 601);
    assert.deepEqual(store.state(org.aid), org.state);
  });
});

describe('log store after SIGKILL', () => {
  it('has everything that it had reported, and evaluates to itself', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kel-store-'));
    try {
      for (const reports of [1, 7, 20]) {
        const reported = await killedAfter(directory, reports);
        const db = new Level(directory);
        const store = await LevelKelStore.open(db, { verifySignature, clock: { now: () => 0 } });
        const [aid] = store.aids();
        assert.ok(aid !== undefined);
        assert.ok((store.state(aid)?.sn ?? -1) >= reported);
        const { events } = await store.replay();
        assert.ok(events > reported);
        await store.close();
        await db.close();
      }
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
  });
});

/** Runs the writer until it has reported `reports` events. @returns the last sequence number reported */
async function killedAfter(directory: string, reports: number): Promise<number> {
  const script = fileURLToPath(new URL('../../../support/kit/endless-writer.ts', import.meta.url));
  const child: ChildProcess = spawn(process.execPath, [script, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  try {
    let reported = -1;
    let count = 0;
    for await (const line of createInterface({ input: child.stdout as NodeJS.ReadableStream })) {
      reported = Number(line);
      count += 1;
      if (count >= reports) break;
    }
    assert.equal(count, reports);
    return reported;
  } finally {
    child.kill('SIGKILL');
    await exited;
  }
}
