import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import { utf8 } from '#src/bytes';
import { DurableTable } from '#src/store/durable-table';
import { FailingLevel } from '../../../support/kit/failing-level.ts';

const value = utf8('value');

function rawTable(db: MemoryLevel<string, string>) {
  return db.sublevel<string, Uint8Array>('t', { keyEncoding: 'utf8', valueEncoding: 'view' });
}

describe('DurableTable', () => {
  it('shows pending writes to the writer alone until they are committed', async () => {
    const table = await DurableTable.open(new MemoryLevel(), 't');
    table.put('a', value);
    assert.deepEqual(table.getPending('a'), value);
    assert.equal(table.get('a'), undefined);
    await table.commit();
    assert.deepEqual(new Uint8Array(table.get('a') ?? []), value);
  });

  it('forgets pending writes when they are discarded', async () => {
    const db = new FailingLevel();
    const table = await DurableTable.open(db, 't');
    table.put('a', value);
    table.discard();
    await table.commit();
    assert.equal(db.writes, 0);
    assert.equal(table.getPending('a'), undefined);
  });

  it('writes everything or nothing when the disk fails, and says so', async () => {
    const db = new FailingLevel();
    const table = await DurableTable.open(db, 't');
    db.failAt(1, 'lost');
    table.put('a', value);
    table.put('b', value);
    await assert.rejects(table.commit(), { code: 'STORE_WRITE_FAILED' });
    db.heal();
    await table.commit();
    assert.equal(table.get('a'), undefined);
    assert.equal(table.getPending('b'), undefined);
  });

  it('lists a prefix in key order and nothing beside it', async () => {
    const table = await DurableTable.open(new MemoryLevel(), 't');
    for (const key of ['b.2', 'a.9', 'b.1', 'c.0', 'b.']) table.put(key, value);
    await table.commit();
    const keys: string[] = [];
    for await (const [key] of table.entries('b.')) keys.push(key);
    assert.deepEqual(keys, ['b.', 'b.1', 'b.2']);
  });

  it('names the entry when one bit of a value has changed', async () => {
    const db = new MemoryLevel();
    const table = await DurableTable.open(db, 't');
    table.put('a', value);
    await table.commit();
    const stored = (await rawTable(db).get('a')) as Uint8Array;
    for (let bit = 0; bit < stored.length * 8; bit++) {
      const changed = new Uint8Array(stored);
      changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7));
      await rawTable(db).put('a', changed);
      assert.throws(() => table.get('a'), { code: 'STORE_CORRUPT', fields: { key: 'a' } });
    }
  });

  it('refuses a value that stands under the key of another, and one that is torn', async () => {
    const db = new MemoryLevel();
    const table = await DurableTable.open(db, 't');
    table.put('a', value);
    await table.commit();
    const stored = (await rawTable(db).get('a')) as Uint8Array;
    await rawTable(db).put('b', stored);
    await rawTable(db).put('c', stored.subarray(0, 3));
    assert.throws(() => table.get('b'), { code: 'STORE_CORRUPT' });
    assert.throws(() => table.get('c'), { code: 'STORE_CORRUPT' });
  });
});
