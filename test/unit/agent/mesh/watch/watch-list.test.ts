import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { MAX_WATCHED, WatchList } from '#agent/mesh/watch/watch-list';
import type { Aid } from '#kel/identifiers';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';

const aid = (n: number) => `E${String(n).padStart(43, '0')}` as Aid;

async function open(db = new FailingLevel()) {
  const table = await StateTable.open(db as unknown as Database, 'watch');
  return { db, list: await WatchList.open(table, { now: () => 1_000 }) };
}

describe('the list of watched AIDs', () => {
  it('survives a restart, with how each fetch ended', async () => {
    const { db, list } = await open();
    await list.add(aid(2), { kind: 'members' });
    await list.add(aid(1), { kind: 'url', url: 'https://example.org/' }, 900);
    await list.fetched(aid(1), { code: 'WATCH_UNREACHABLE', message: 'no' });
    await list.fetched(aid(2));
    await list.fetched(aid(3));
    const again = (await open(db)).list;
    assert.deepEqual(again.list(), list.list());
    const [first, second, ...others] = again.list();
    assert.deepEqual(others, []);
    assert.deepEqual(first?.failure, { at: 1_000, code: 'WATCH_UNREACHABLE', message: 'no' });
    assert.deepEqual([first?.fetched, second?.fetched, second?.failure], [900, 1_000, null]);
    await again.remove(aid(1));
    await assert.rejects(again.remove(aid(1)), { code: 'WATCH_UNKNOWN' });
    assert.deepEqual(
      (await open(db)).list.list().map((one) => one.aid),
      [aid(2)],
    );
  });

  it('is bounded, and still takes a new source of what is on it', async () => {
    const { list } = await open();
    for (let n = 0; n < MAX_WATCHED; n++) await list.add(aid(n), { kind: 'import' });
    assert.equal(list.room, 0);
    await assert.rejects(list.add(aid(MAX_WATCHED), { kind: 'import' }), { code: 'WATCH_FULL' });
    await list.add(aid(7), { kind: 'members' });
    assert.equal(list.list().length, MAX_WATCHED);
  });

  it('changes with the disk or not at all', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      const { db, list } = await open();
      await list.add(aid(1), { kind: 'import' });
      db.failAt(1, kind);
      await assert.rejects(list.add(aid(2), { kind: 'import' }), { code: 'STORE_WRITE_FAILED' });
      assert.ok(!list.has(aid(2)));
      db.heal();
      assert.equal((await open(db)).list.has(aid(2)), kind === 'persisted');
      db.failAt(1, kind);
      await assert.rejects(list.remove(aid(1)), { code: 'STORE_WRITE_FAILED' });
      assert.ok(list.has(aid(1)));
      db.heal();
      assert.equal((await open(db)).list.has(aid(1)), kind === 'lost');
    }
  });
});
