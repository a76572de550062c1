import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { FailingLevel } from '../../../support/kit/failing-level.ts';

const open = (db: FailingLevel, name = 't') => StateTable.open(db as Database, name);

describe('state table', () => {
  it('keeps values across restarts and deletes what is undefined', async () => {
    const db = new FailingLevel();
    const table = await open(db);
    await table.put({ a: 1, b: { c: ['ä'] }, d: null });
    await table.put({ a: undefined });
    const again = await open(db);
    assert.equal(again.get('a'), undefined);
    assert.deepEqual(again.get('b'), { c: ['ä'] });
    assert.equal(again.get('d'), null);
    assert.equal((await open(db, 'other')).get('b'), undefined);
    const entries: unknown[] = [];
    for await (const entry of again.entries('b')) entries.push(entry);
    assert.deepEqual(entries, [['b', { c: ['ä'] }]]);
  });

  it('writes all of a change or nothing', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      const db = new FailingLevel();
      const table = await open(db);
      await table.put({ a: 1, b: 1 });
      db.failAt(1, kind);
      await assert.rejects(table.put({ a: 2, b: 2, c: 2 }), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      const again = await open(db);
      const expected = kind === 'lost' ? [1, 1, undefined] : [2, 2, 2];
      assert.deepEqual([again.get('a'), again.get('b'), again.get('c')], expected);
    }
  });

  it('leaves nothing of a change that cannot be written for the next one', async () => {
    const table = await open(new FailingLevel());
    await assert.rejects(table.put({ a: 1, b: 1n }), TypeError);
    await table.put({ c: 1 });
    assert.equal(table.get('a'), undefined);
    assert.equal(table.get('c'), 1);
  });

  it('keeps changes that are made at once apart', async () => {
    const db = new FailingLevel();
    const table = await open(db);
    await Promise.all(Array.from({ length: 20 }, (_, i) => table.put({ [`k${i}`]: i, last: i })));
    assert.equal(db.writes, 20);
    assert.equal(table.get('last'), 19);
  });
});
