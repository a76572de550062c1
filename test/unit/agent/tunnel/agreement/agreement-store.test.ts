import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Level } from 'level';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import type { Agreement } from '#agent/tunnel/agreement/agreement';
import { AgreementStore, pairKey } from '#agent/tunnel/agreement/agreement-store';
import { chainAt, presharedKey } from '#agent/tunnel/agreement/chain';
import { pairOf } from '#agent/tunnel/agreement/terms';
import type { Said } from '#kel/identifiers';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { a, b, mesh, policy } from '../../../../support/kit/agreements.ts';

type Database = Parameters<typeof AgreementStore.open>[0];

const rng = new SeededRng('store');
const kek = new Secret(rng.bytes(32));
const key = pairKey(pairOf(mesh, a.local, b.local));
const base = policy.baseEpoch;
const nextGeneration = { ...b.local, tunnelRecord: `E${'n'.repeat(43)}` as Said };

function agreement(fill = 1): Agreement {
  return {
    ...policy,
    th: new Uint8Array(32).fill(fill),
    pair: pairOf(mesh, a.local, b.local),
    chain: new Secret(new Uint8Array(32).fill(fill)),
  };
}

const hex = (secret: Secret) => Buffer.from(secret.expose()).toString('hex');

/** psk of `epoch` straight from the chain. */
function expected(epoch: number, fill = 1): string {
  return hex(presharedKey(chainAt({ epoch: base, chain: agreement(fill).chain }, epoch).chain));
}

async function openOn(db: Database, sealingKey = kek): Promise<AgreementStore> {
  return AgreementStore.open(db, sealingKey, rng);
}

/** A database whose writes fail on demand: not done, or done and not reported. */
function faulty(db: MemoryLevel<string, string>) {
  const plan: ('fail' | 'done, then fail' | 'pass')[] = [];
  const counts = { writes: 0 };
  const inject = (name: 'batch' | 'del', table: object) => {
    const original = Reflect.get(table, name).bind(table);
    Reflect.set(table, name, async (...args: unknown[]) => {
      counts.writes += 1;
      const step = plan.shift() ?? 'pass';
      if (step === 'fail') throw new Error('no space left');
      await original(...args);
      if (step !== 'pass') throw new Error('power lost');
    });
  };
  const wrapped = {
    sublevel: (...args: Parameters<typeof db.sublevel>) => {
      const table = db.sublevel(...args);
      inject('batch', table);
      inject('del', table);
      return table;
    },
  };
  return { db: wrapped as unknown as Database, plan, counts };
}

describe('agreement store', () => {
  it('gives the key of the base epoch, then of each later one', async () => {
    const store = await openOn(new MemoryLevel());
    assert.equal(await store.current(key), undefined);
    await store.put(agreement());
    const first = await store.current(key);
    assert.equal(first?.epoch, base);
    assert.equal(first && hex(first.psk), expected(base));
    for (const epoch of [base, base + 1, base + 5]) {
      const advanced = await store.advance(key, epoch);
      assert.equal(advanced.epoch, epoch);
      assert.equal(hex(advanced.psk), expected(epoch));
    }
    const { psk, ...rest } = (await store.current(key)) as NonNullable<typeof first>;
    const { chain, ...facts } = agreement();
    assert.deepEqual(rest, { ...facts, epoch: base + 5 });
    assert.equal(psk.length + chain.length, 64);
  });

  it('erases the chain in memory once it is stored, and where it could not be', async () => {
    const { db, plan } = faulty(new MemoryLevel());
    const store = await openOn(db);
    const [made, lost] = [agreement(1), agreement(2)];
    await store.put(made);
    plan.push('fail');
    await assert.rejects(store.put(lost), { code: 'AGREEMENT_STORE_FAILED' });
    for (const { chain } of [made, lost]) assert.ok(chain.expose().every((byte) => byte === 0));
  });

  it('does not go back, leap, or serve a pair that it does not know', async () => {
    const store = await openOn(new MemoryLevel());
    await assert.rejects(store.advance(key, base), { code: 'AGREEMENT_NONE' });
    await store.put(agreement());
    await store.advance(key, base + 2);
    await assert.rejects(store.advance(key, base + 1), { code: 'AGREEMENT_EPOCH_PAST' });
    await assert.rejects(store.advance(key, base + 10_000_000), { code: 'AGREEMENT_EPOCH_FAR' });
    assert.equal(hex((await store.advance(key, base + 2)).psk), expected(base + 2));
  });

  it('keeps the epoch it has reached when the same agreement comes again, and takes a fresh one', async () => {
    const store = await openOn(new MemoryLevel());
    await store.put(agreement());
    await store.advance(key, base + 3);
    await store.put(agreement());
    assert.equal((await store.current(key))?.epoch, base + 3);
    await store.put(agreement(2));
    const fresh = await store.current(key);
    assert.equal(fresh?.epoch, base);
    assert.equal(fresh && hex(fresh.psk), expected(base, 2));
  });

  it('serves calls in the order they came', async () => {
    const store = await openOn(new MemoryLevel());
    const results = await Promise.all([
      store.put(agreement()),
      store.advance(key, base + 1),
      store.advance(key, base + 2),
      store.current(key),
    ]);
    assert.deepEqual(
      results.map((result) => result?.epoch),
      [undefined, base + 1, base + 2, base + 2],
    );
  });

  it('removes, also what is not there', async () => {
    const store = await openOn(new MemoryLevel());
    await store.put(agreement());
    await store.remove(key);
    await store.remove(key);
    assert.equal(await store.current(key), undefined);
  });

  it('names a pair alike on both ends, and apart per mesh and per generation of keys', () => {
    assert.equal(pairKey(pairOf(mesh, b.local, a.local)), key);
    assert.notEqual(pairKey(pairOf(`${mesh.slice(1)}x`, a.local, b.local)), key);
    assert.notEqual(pairKey(pairOf(mesh, a.local, nextGeneration)), key);
  });

  it('keeps two generations side by side', async () => {
    const store = await openOn(new MemoryLevel());
    const next = { ...agreement(2), pair: pairOf(mesh, a.local, nextGeneration) };
    await store.put(agreement());
    await store.put(next);
    await store.advance(key, base + 1);
    assert.equal((await store.current(pairKey(next.pair)))?.epoch, base);
    await store.remove(key);
    assert.equal((await store.current(pairKey(next.pair)))?.th[0], 2);
  });
});

describe('agreement store: what is on disk', () => {
  async function storedValue(
    db: MemoryLevel<string, string>,
  ): Promise<readonly [string, Uint8Array]> {
    // A copy that is no Buffer: the slice of a Buffer would change what is stored.
    for await (const [place, value] of db.iterator<string, Uint8Array>({ valueEncoding: 'view' }))
      return [place, new Uint8Array(value)];
    throw new Error('nothing stored');
  }

  it('is neither chain nor preshared key', async () => {
    const db = new MemoryLevel();
    const store = await openOn(db);
    await store.put({ ...agreement(), chain: new Secret(new Uint8Array(32).fill(0xa7)) });
    const psk = (await store.current(key))?.psk;
    const [, value] = await storedValue(db);
    const text = Buffer.from(value).toString('hex');
    assert.ok(psk !== undefined && !text.includes(hex(psk)));
    assert.ok(!text.includes('a7'.repeat(32)));
  });

  it('opens under no other key, at no other place, and with no byte changed', async () => {
    const db = new MemoryLevel();
    const store = await openOn(db);
    await store.put(agreement());
    const other = await openOn(db, new Secret(rng.bytes(32)));
    await assert.rejects(other.current(key), { code: 'AGREEMENT_STORE_CORRUPT' });

    const [place, value] = await storedValue(db);
    const elsewhere = pairKey(pairOf(mesh, a.local, nextGeneration));
    await db.put(place.replace(key, elsewhere), value, { valueEncoding: 'view' });
    await assert.rejects(store.current(elsewhere), { code: 'AGREEMENT_STORE_CORRUPT' });

    assert.equal((await store.current(key))?.epoch, base, 'the unchanged value opens');
    for (let at = 0; at < value.length; at++) {
      const changed = value.slice();
      changed[at] = (changed[at] as number) ^ 1;
      await db.put(place, changed, { valueEncoding: 'view' });
      await assert.rejects(store.current(key), { code: 'AGREEMENT_STORE_CORRUPT' }, `byte ${at}`);
    }
    for (const length of [0, 1, 100, value.length - 1]) {
      await db.put(place, value.slice(0, length), { valueEncoding: 'view' });
      await assert.rejects(store.current(key), { code: 'AGREEMENT_STORE_CORRUPT' });
    }
    await store.put(agreement(2));
    assert.equal(
      (await store.current(key))?.th[0],
      2,
      'a fresh agreement replaces what cannot be read',
    );
  });

  it('is there after the process ends (LevelDB)', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'kelmesh-agreement-'));
    try {
      for (const epoch of [base, base + 1, base + 1, base + 4]) {
        const db = new Level(directory);
        try {
          const store = await openOn(db);
          if (epoch === base) await store.put(agreement());
          assert.equal(hex((await store.advance(key, epoch)).psk), expected(epoch));
        } finally {
          await db.close();
        }
      }
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});

describe('agreement store: crashes', () => {
  /** Runs a life with one fault at write `at`, restarts, and finishes it. @returns the key of each epoch that was ever handed out */
  async function life(fault: 'fail' | 'done, then fail', at: number): Promise<boolean> {
    const disk = new MemoryLevel();
    const { db, plan, counts } = faulty(disk);
    for (let i = 0; i < at; i++) plan.push('pass');
    plan.push(fault);
    const handedOut = new Map<number, string>();
    const note = (epoch: number, psk: Secret) => {
      assert.equal(handedOut.get(epoch) ?? hex(psk), hex(psk), `epoch ${epoch} has two keys`);
      assert.equal(hex(psk), expected(epoch));
      handedOut.set(epoch, hex(psk));
    };
    let store = await openOn(db);
    const persevere = async <T>(task: () => Promise<T>): Promise<T> => {
      try {
        return await task();
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'AGREEMENT_STORE_FAILED');
        store = await openOn(db);
        const reached = await store.current(key);
        if (reached !== undefined) note(reached.epoch, reached.psk);
        return task();
      }
    };
    await persevere(() => store.put(agreement()));
    for (const epoch of [base, base + 1, base + 2, base + 5]) {
      const { psk } = await persevere(() => store.advance(key, epoch));
      note(epoch, psk);
    }
    await persevere(() => store.remove(key));
    assert.equal(await store.current(key), undefined);
    return counts.writes > at + 1;
  }

  for (const fault of ['fail', 'done, then fail'] as const) {
    it(`gives the same key of the same epoch after a write that ${fault === 'fail' ? 'was not done' : 'was done and not reported'}`, async () => {
      let at = 0;
      while (await life(fault, at)) at += 1;
      assert.equal(at, 5, 'put, three changes of epoch, remove: each failed once');
    });
  }

  it('takes many pairs to their epochs, all or none, in one write', async () => {
    const other = pairKey(pairOf(mesh, a.local, nextGeneration));
    const { db, plan, counts } = faulty(new MemoryLevel());
    const store = await openOn(db);
    await store.put(agreement());
    await store.put({ ...agreement(2), pair: pairOf(mesh, a.local, nextGeneration) });
    const due = [
      [key, base + 1],
      [other, base + 3],
    ] as const;
    plan.push('fail');
    await assert.rejects(store.advanceAll(due), { code: 'AGREEMENT_STORE_FAILED' });
    const unknown = pairKey(pairOf(`${mesh}x` as Said, a.local, b.local));
    await assert.rejects(store.advanceAll([...due, [unknown, base]]), { code: 'AGREEMENT_NONE' });
    for (const pair of [key, other]) assert.equal((await store.current(pair))?.epoch, base);
    const before = counts.writes;
    const keys = await store.advanceAll(due);
    assert.equal(counts.writes - before, 1);
    assert.deepEqual(
      keys.map(({ psk }) => hex(psk)),
      [expected(base + 1), expected(base + 3, 2)],
    );
    await store.advanceAll(due);
    assert.equal(counts.writes - before, 1, 'nothing is written for what is there');
  });

  it('hands out no key of an epoch that is not on disk', async () => {
    const { db, plan } = faulty(new MemoryLevel());
    const store = await openOn(db);
    await store.put(agreement());
    plan.push('fail');
    await assert.rejects(store.advance(key, base + 1), { code: 'AGREEMENT_STORE_FAILED' });
    assert.equal((await store.current(key))?.epoch, base);
  });
});
