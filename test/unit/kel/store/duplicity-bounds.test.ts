/** Bounds on what is kept of forks: the fork of nobody is hidden by a crowd of others, nor by its own size. */
import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import { newestOfEachFirst } from '#agent/mesh/duplicity/evidence-exchange';
import { Suspensions } from '#agent/mesh/membership/suspensions';
import type { KeyEventMessage } from '#kel/event/key-event';
import { digestSeal } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';
import { DuplicityEvidence } from '#kel/store/duplicity-evidence';
import { type Database, DurableTable } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { Organisation } from '../../../support/kit/key-log.ts';
import { openStore } from '../../../support/kit/store-kit.ts';

const said = (n: number): Said => `E${String(n).padStart(43, '0')}` as Said;
const aid = (n: number): Aid => `E${String(n).padStart(43, 'a')}` as Aid;

/** An event with `sn` 1 that stands beside others. */
function another(org: Organisation, n: number, seals = 1): Uint8Array {
  const anchors = Array.from({ length: seals }, (_, i) => digestSeal(said(n * 10_000 + i)));
  return org.fork(1).anchor(anchors).message;
}

async function setUp(name: string) {
  const org = new Organisation(name);
  org.incept();
  org.anchor();
  const kit = await openStore();
  await kit.store.process(org.stream);
  const suspensions = async (kel = kit.store) => {
    const table = await StateTable.open(kit.db as unknown as Database, 'suspension');
    return new Suspensions({ kel, table, clock: kit.clock as never });
  };
  return { ...kit, org, suspensions };
}

describe('bounds on evidence of forks', () => {
  it('never keep out the first fork of an AID, however large its events are', async () => {
    const { store, org, suspensions } = await setUp('large');
    const large = another(org, 1, 2_000);
    assert.ok(large.length > 64 * 1024);
    const suspended = await suspensions();
    await store.process(large);
    assert.notEqual(suspended.of(org.aid), undefined);
    const { forksDropped } = store.counters();
    await store.process(another(org, 2, 2_000));
    assert.deepEqual([forksDropped, store.counters().forksDropped], [0, 1]);
  });

  it('count what they keep out, and begin anew where an operator has resolved what was there, over a restart too', async () => {
    const { store, org, suspensions, reopen } = await setUp('resolved');
    const suspended = await suspensions();
    const fork = (from: number) => Array.from({ length: 20 }, (_, i) => another(org, from + i));
    for (const message of fork(0)) await store.process(message);
    const kept = store.duplicityCases().length;
    assert.equal(kept + store.counters().forksDropped, 20);
    await suspended.resolve(org.aid, 'explained');
    assert.equal(suspended.of(org.aid), undefined);
    const again = await reopen();
    const restarted = await suspensions(again);
    await again.process(another(org, 100));
    assert.notEqual(restarted.of(org.aid), undefined);
    await again.close();
  });

  it('leave room for one fork of every AID when those of others fill them', async () => {
    const table = await DurableTable.open(new MemoryLevel() as unknown as Database, 'forks');
    const evidence = new DuplicityEvidence(table);
    const add = (who: number, n: number) => {
      const message = { event: { aid: aid(who), sn: 1, said: said(n) } } as KeyEventMessage;
      return evidence.add(message, said(0), [new Uint8Array(1), new Uint8Array(1)], 0);
    };
    for (let n = 1; n <= 16; n++) for (let who = 0; who < 256; who++) add(who, n);
    assert.equal(evidence.cases().length, 4_096);
    assert.equal(add(0, 17), false);
    for (let who = 256; who < 300; who++) assert.equal(add(who, 1), true);
    assert.equal(evidence.dropped, 1);
  });

  it('cut nothing off an exchange that is the newest fork of anybody', () => {
    const forks = [0, 0, 0, 1, 2, 2].map((who, n) => ({
      ...{ aid: aid(who), sn: n, accepted: said(0), conflicting: said(n), since: n },
    }));
    const order = newestOfEachFirst(forks).map((fork) => [fork.aid, fork.sn]);
    assert.deepEqual(new Set(order.slice(0, 3).map(([who]) => who)).size, 3);
    assert.deepEqual(
      order.filter(([who]) => who === aid(0)).map(([, sn]) => sn),
      [2, 1, 0],
    );
    assert.equal(order.length, forks.length);
  });
});
