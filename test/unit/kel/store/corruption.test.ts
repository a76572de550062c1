import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { digestSeal, eventSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { FailingLevel } from '../../../support/kit/failing-level.ts';
import { Organisation } from '../../../support/kit/key-log.ts';
import { digest } from '../../../support/kit/record-samples.ts';
import { openStore, type StoreKit } from '../../../support/kit/store-kit.ts';

const raw = { keyEncoding: 'utf8', valueEncoding: 'view' } as const;

async function filled(): Promise<StoreKit & { readonly keys: readonly string[] }> {
  const kit = await openStore();
  const org = new Organisation('one');
  org.incept();
  const seal = org.anchor([digestSeal(digest('D') as Said)]);
  org.rotate();
  org.anchor([eventSeal(seal)]);
  await kit.store.process(org.stream);
  const keys: string[] = [];
  for await (const key of table(kit.db).keys()) keys.push(key);
  return { ...kit, keys };
}

function table(db: FailingLevel) {
  return db.sublevel<string, Uint8Array>('kel', raw);
}

/** Opens, and replays when that succeeds: one of the two has to notice. */
async function openAndReplay({ reopen }: StoreKit): Promise<void> {
  const store = await reopen();
  await store.replay();
}

describe('log store with a damaged database', () => {
  it('has entries of every kind that this test damages', async () => {
    const { keys } = await filled();
    const kinds = [...new Set(keys.map((key) => key.split('.')[0]))].sort();
    assert.deepEqual(kinds, ['approval', 'chain', 'event', 'first', 'head', 'seal', 'state']);
  });

  it('names a changed bit in any entry', async () => {
    const kit = await filled();
    for (const key of kit.keys) {
      const value = (await table(kit.db).get(key)) as Uint8Array;
      const changed = new Uint8Array(value);
      const at = changed.length >> 1;
      changed[at] = (changed[at] as number) ^ 4;
      await table(kit.db).put(key, changed);
      await assert.rejects(openAndReplay(kit), { code: 'STORE_CORRUPT', fields: { key } }, key);
      await table(kit.db).put(key, value);
    }
    await openAndReplay(kit);
  });

  it('names a missing entry of any kind', async () => {
    const kit = await filled();
    for (const key of kit.keys) {
      const value = (await table(kit.db).get(key)) as Uint8Array;
      await table(kit.db).del(key);
      await assert.rejects(openAndReplay(kit), { code: 'STORE_CORRUPT' }, key);
      await table(kit.db).put(key, value);
    }
    await openAndReplay(kit);
  });

  it('does not open when the last event, its head or its place in the first-seen log is gone', async () => {
    const kit = await filled();
    const last = (kind: string) => kit.keys.findLast((key) => key.startsWith(kind)) as string;
    for (const key of [last('event.'), last('head.'), last('first.'), last('chain.')]) {
      const value = (await table(kit.db).get(key)) as Uint8Array;
      await table(kit.db).del(key);
      await assert.rejects(kit.reopen(), { code: 'STORE_CORRUPT' }, key);
      await table(kit.db).put(key, value);
    }
  });
});
