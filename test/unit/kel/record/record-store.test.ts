import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import type { AnyRecord, NodRecord, RecordType, Verified } from '#kel/record/record';
import { RecordStore } from '#kel/record/record-store';
import { formatDateTime } from '#src/clock';
import { FailingLevel } from '../../../support/kit/failing-level.ts';
import { Organisation } from '../../../support/kit/key-log.ts';
import { recordOf, verified } from '../../../support/kit/signed-record.ts';

interface Item {
  readonly record: Verified<AnyRecord>;
  readonly message: Uint8Array;
}

function organisation(name = 'one'): Organisation {
  const org = new Organisation(name);
  org.incept();
  return org;
}

/** A record of `org` dated `second` seconds after 2026 began. */
async function item(type: RecordType, org: Organisation, second: number): Promise<Item> {
  const dt = formatDateTime(Date.UTC(2026, 0, 1) + second * 1000);
  const message = recordOf(type, org, { dt });
  return { record: await verified(message, org), message };
}

async function items(type: RecordType, org: Organisation, count: number): Promise<Item[]> {
  return Promise.all(Array.from({ length: count }, (_, second) => item(type, org, second)));
}

function saids(found: readonly { readonly record: { readonly d: string } }[]): readonly string[] {
  return found.map(({ record }) => record.d);
}

describe('RecordStore', () => {
  it('gives back the record and its message, also after reopening', async () => {
    const db = new MemoryLevel();
    const store = await RecordStore.open(db);
    const { record, message } = await item('nod', organisation(), 0);
    assert.equal(await store.put(record, message), 'stored');
    assert.equal(await store.put(record, message), 'known');
    for (const each of [store, await RecordStore.open(db)]) {
      assert.deepEqual(each.get(record.d), { record, message });
      const latest: NodRecord | undefined = each.latest('nod', record.i)?.record;
      assert.deepEqual(latest, record);
      assert.equal(each.latest('tun', record.i), undefined);
      assert.deepEqual(each.saids(), [record.d]);
      assert.deepEqual(each.counters(), { records: 1, dropped: 0 });
    }
  });

  it('takes the latest by establishment event first and date second, in any order of arrival', async () => {
    const org = organisation();
    const late = await item('end', org, 900);
    org.rotate();
    const early = await item('end', org, 1);
    const later = await item('end', org, 2);
    for (const order of [
      [late, early, later],
      [later, early, late],
      [early, late, later],
    ]) {
      const store = await RecordStore.open(new MemoryLevel());
      for (const { record, message } of order) await store.put(record, message);
      assert.equal(store.latest('end', org.aid)?.record.d, later.record.d);
      assert.deepEqual(saids(store.list('end', org.aid)), saids([early, later]));
    }
  });

  it('keeps the latest 16 tunnel keys and 2 endpoints of an AID', async () => {
    const org = organisation();
    const db = new MemoryLevel();
    const store = await RecordStore.open(db);
    for (const [type, keep] of [
      ['tun', 16],
      ['end', 2],
    ] as const) {
      const all = await items(type, org, keep + 3);
      for (const { record, message } of all.slice(1)) await store.put(record, message);
      const [oldest] = all as [Item];
      assert.equal(await store.put(oldest.record, oldest.message), 'superseded');
      assert.deepEqual(saids(store.list(type, org.aid)), saids(all.slice(3)));
      assert.equal(store.get((all[1] as Item).record.d), undefined);
    }
    const again = await RecordStore.open(db);
    assert.deepEqual(again.saids().toSorted(), store.saids().toSorted());
    assert.equal(again.counters().records, 18);
  });

  it('keeps whatever was named when newer ones displace it, of every type, across restarts', async () => {
    const org = organisation();
    for (const type of ['nod', 'tun', 'end', 'log'] as const) {
      const db = new MemoryLevel();
      const store = await RecordStore.open(db);
      const all = await items(type, org, 40);
      const named = all.filter((_, n) => n % 3 === 0).map(({ record }) => record.d);
      for (const { record, message } of all) {
        await store.put(record, message);
        if (named.includes(record.d)) await store.retain([record.d, record.d]);
      }
      for (const each of [store, await RecordStore.open(db)]) {
        for (const { record, message } of all.filter(({ record }) => named.includes(record.d))) {
          assert.deepEqual(each.get(record.d), { record, message }, `${type} ${record.dt}`);
          assert.equal(await each.put(record, message), 'known');
        }
        const listed = saids(each.list(type, org.aid));
        const kept: string[] = [];
        for await (const { record } of each.kept()) kept.push(record.d);
        assert.deepEqual(
          kept.toSorted(),
          named.filter((said) => !listed.includes(said)).toSorted(),
        );
        assert.equal(each.latest(type, org.aid)?.record.d, all.at(-1)?.record.d);
        assert.equal(each.get((all[1] as Item).record.d), undefined);
      }
    }
  });

  it('loses nothing that was named, whichever write fails', async () => {
    const org = organisation();
    const all = await items('end', org, 5);
    const [first] = all as [Item];
    for (const kind of ['lost', 'persisted'] as const)
      for (let write = 1; write <= 6; write++) {
        const db = new FailingLevel();
        let store = await RecordStore.open(db);
        await store.put(first.record, first.message);
        db.failAt(write, kind);
        const isNamed = await store.retain([first.record.d]).then(
          () => true,
          () => false,
        );
        for (const { record, message } of all.slice(1))
          await store.put(record, message).catch(() => undefined);
        db.heal();
        for (const each of [store, await RecordStore.open(db)]) {
          for (const { record, message } of all.slice(1)) await each.put(record, message);
          store = each;
        }
        if (isNamed) assert.deepEqual(store.get(first.record.d)?.message, first.message);
      }
  });

  it('forgets no charter and no revocation for a newer one', async () => {
    const org = organisation();
    const store = await RecordStore.open(new MemoryLevel());
    for (const type of ['chr', 'rvk'] as const) {
      const all = await items(type, org, 20);
      for (const { record, message } of all) await store.put(record, message);
      assert.deepEqual(saids(store.list(type)), saids(all));
    }
  });

  it('has a bound in all and says when it drops', async () => {
    const store = await RecordStore.open(new MemoryLevel(), { maxRecords: 2 });
    const outcomes: string[] = [];
    for (const name of ['one', 'two', 'three']) {
      const { record, message } = await item('nod', organisation(name), 0);
      outcomes.push(await store.put(record, message));
    }
    assert.deepEqual(outcomes, ['stored', 'stored', 'dropped']);
    assert.equal(store.counters().dropped, 1);
  });

  it('lists by type over all AIDs', async () => {
    const store = await RecordStore.open(new MemoryLevel());
    const one = await item('nod', organisation('one'), 0);
    const two = await item('nod', organisation('two'), 0);
    const other = await item('log', organisation('two'), 0);
    for (const { record, message } of [one, two, other]) await store.put(record, message);
    assert.deepEqual(saids(store.list('nod')).toSorted(), saids([one, two]).toSorted());
    assert.deepEqual(saids(store.list('nod', one.record.i)), [one.record.d]);
  });

  it('refuses a message that is not that of the record', async () => {
    const store = await RecordStore.open(new MemoryLevel());
    const [first, second] = (await items('nod', organisation(), 2)) as [Item, Item];
    await assert.rejects(store.put(first.record, second.message), { code: 'RECORD_WRONG_SAID' });
    assert.deepEqual(store.saids(), []);
  });

  it('names a damaged entry when it opens', async () => {
    const db = new MemoryLevel<string, string>();
    const store = await RecordStore.open(db);
    const { record, message } = await item('nod', organisation(), 0);
    await store.put(record, message);
    const raw = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;
    const table = db.sublevel<string, Uint8Array>('record', raw);
    const value = new Uint8Array((await table.get(`record.${record.d}`)) as Uint8Array);
    value[200] = (value[200] as number) ^ 1;
    await table.put(`record.${record.d}`, value);
    await assert.rejects(RecordStore.open(db), { code: 'STORE_CORRUPT' });
  });

  for (const kind of ['lost', 'persisted'] as const) {
    it(`goes on from the disk after any write that fails (${kind})`, async () => {
      const org = organisation();
      const all = await items('end', org, 4);
      const expected = saids(all.slice(2));
      const putAll = async (into: RecordStore) => {
        for (const { record, message } of all) await into.put(record, message);
      };
      for (let write = 1; write <= all.length; write++) {
        for (const goesOn of ['same store', 'other store'] as const) {
          const db = new FailingLevel();
          const store = await RecordStore.open(db);
          db.failAt(write, kind);
          await assert.rejects(putAll(store), { code: 'STORE_WRITE_FAILED' });
          for (const { record } of store.list('end', org.aid)) assert.equal(record.i, org.aid);
          db.heal();
          const next = goesOn === 'same store' ? store : await RecordStore.open(db);
          await putAll(next);
          assert.deepEqual(saids(next.list('end', org.aid)), expected);
          assert.deepEqual((await RecordStore.open(db)).saids().toSorted(), expected.toSorted());
        }
      }
    });
  }

  it('keeps a charter and a revocation out for no crowd of other records', async () => {
    const store = await RecordStore.open(new MemoryLevel(), { maxRecords: 3 });
    for (const { record, message } of await items('end', organisation(), 2))
      assert.equal(await store.put(record, message), 'stored');
    const org = organisation();
    for (const type of ['chr', 'rvk', 'chr', 'rvk'] as const)
      for (const { record, message } of await items(type, org, 1))
        assert.match(await store.put(record, message), /stored|known/);
    const [nod] = (await items('nod', org, 1)) as [Item];
    assert.equal(await store.put(nod.record, nod.message), 'dropped');
    assert.equal(store.counters().dropped, 1);
    assert.equal(store.list('rvk', org.aid).length > 0, true);
  });
});
