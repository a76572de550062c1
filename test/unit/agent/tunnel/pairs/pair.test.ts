import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Pair } from '#agent/tunnel/pairs/pair';
import { sameView, viewKey } from '#agent/tunnel/pairs/view';
import type { Aid, Said } from '#kel/identifiers';
import { Secret } from '#src/secret';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';

const aid = 'alice' as Aid;
const said = (name: string) => name as Said;
const view = (own: string, peer: string) => ({ own: said(own), peer: said(peer) });
const place = (slot: number, initiates = false) => ({ slot, port: 51_820 + slot, initiates });
const open = async (db: FailingLevel) =>
  new Pair(await StateTable.open(db as Database, 'tunnel'), aid, new Secret(new Uint8Array(32)));

/** A pair on `a`/`x`, in slot 0. */
async function onFirst(db: FailingLevel): Promise<Pair> {
  const pair = await open(db);
  await pair.want(view('a', 'x'), 500, 100);
  await pair.stage(place(0));
  await pair.flip(1_000, 9_000);
  return pair;
}

describe('pair', () => {
  it('goes from view to view, one active and the ones before draining, across restarts', async () => {
    const db = new FailingLevel();
    const pair = await open(db);
    await pair.want(view('a', 'x'), 500, 100);
    assert.deepEqual(pair.placed(), [], 'wanted is not yet on a device');
    assert.deepEqual([pair.change?.step, pair.change?.deadline], ['waiting', 600]);
    await pair.stage(place(0, true));
    assert.deepEqual((await open(db)).staged, { ...view('a', 'x'), ...place(0, true) });
    await pair.stage(place(0));
    assert.equal((await open(db)).staged?.initiates, false);
    await pair.flip(1_000, 9_000);
    const first = { ...view('a', 'x'), ...place(0), generation: 1, since: 1_000 };
    assert.deepEqual([pair.active, pair.change, pair.draining], [first, undefined, []]);
    await pair.want(view('b', 'x'), 1_500, 100);
    await pair.stage(place(1));
    await pair.flip(2_000, 10_000);
    const again = await open(db);
    assert.deepEqual(again.active, {
      ...view('b', 'x'),
      ...place(1),
      generation: 2,
      since: 2_000,
    });
    const rest = { until: 10_000, deadline: 1_600, isConfirmed: false, rxBytes: -1 };
    assert.deepEqual(again.draining, [{ ...first, ...rest }]);
    assert.deepEqual(
      again.placed().map(({ slot }) => slot),
      [1, 0],
    );
    await again.confirm();
    const [former] = again.draining;
    assert.ok(former?.isConfirmed);
    await again.drainOn(former, 20_000, 77);
    assert.deepEqual((await open(db)).draining, [
      { ...first, ...rest, isConfirmed: true, until: 20_000, rxBytes: 77 },
    ]);
    await again.drained(former);
    assert.deepEqual((await open(db)).draining, []);
    assert.equal((await open(db)).active?.own, 'b');
  });

  it('has each change whole or not at all when a write fails', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      for (const act of [
        (pair: Pair) => pair.want(view('b', 'x'), 1, 2),
        (pair: Pair) => pair.want(view('b', 'x'), 1, 2).then(() => pair.stage(place(1))),
        (pair: Pair) => pair.drop(() => true),
        (pair: Pair) => pair.forget(),
      ]) {
        const db = new FailingLevel();
        const pair = await onFirst(db);
        const before = JSON.stringify([pair.active, pair.change]);
        db.failAt(1, kind);
        await assert.rejects(
          act(pair).then(() => undefined),
          { code: 'STORE_WRITE_FAILED' },
        );
        db.heal();
        const after = await open(db);
        const now = JSON.stringify([after.active, after.change]);
        assert.equal(now === before, kind === 'lost', `${kind}: ${act}`);
      }
    }
  });

  it('flips to nothing that does not stand on a device', async () => {
    const pair = await open(new FailingLevel());
    await pair.flip(1, 2);
    await pair.want(view('a', 'x'), 1, 2);
    await pair.flip(1, 2);
    assert.equal(pair.active, undefined);
    await pair.settle();
    await pair.stage(place(1));
    assert.equal(pair.staged, undefined, 'nothing is staged that is not wanted');
  });

  it('writes nothing twice', async () => {
    const db = new FailingLevel();
    const pair = await onFirst(db);
    await pair.want(view('b', 'x'), 1, 2);
    db.failAt(1, 'lost');
    await pair.want(view('b', 'x'), 5, 6);
    await pair.confirm();
    assert.equal(await pair.drop(() => false), false);
    assert.equal(pair.change?.since, 1);
  });

  it('goes on taking packets on a staged view that it does not want any more', async () => {
    const db = new FailingLevel();
    const pair = await onFirst(db);
    await pair.want(view('b', 'x'), 2_000, 500);
    await pair.stage(place(1, true));
    await pair.want(view('b', 'y'), 2_100, 500);
    assert.deepEqual(
      [pair.change?.step, pair.change?.peer, pair.staged],
      ['waiting', 'y', undefined],
    );
    const [aside] = (await open(db)).draining;
    assert.deepEqual(
      [aside?.own, aside?.peer, aside?.slot, aside?.isConfirmed, aside?.deadline],
      ['b', 'x', 1, false, 2_500],
    );
    assert.equal(pair.active?.own, 'a');
  });

  it('has at most two former views: the oldest goes', async () => {
    const pair = await onFirst(new FailingLevel());
    for (const [n, own] of ['b', 'c', 'd'].entries()) {
      await pair.want(view(own, 'x'), 1, 2);
      await pair.stage(place((n + 1) % 4));
      await pair.flip(1, 2);
    }
    assert.deepEqual(
      pair.draining.map(({ own }) => own),
      ['b', 'c'],
    );
  });

  it('lets go of what was revoked, and of nothing else', async () => {
    const db = new FailingLevel();
    const pair = await onFirst(db);
    await pair.want(view('b', 'x'), 1, 2);
    await pair.stage(place(1));
    await pair.flip(3, 4);
    await pair.want(view('c', 'x'), 5, 6);
    const only = (own: string) => (candidate: { own: Said }) => candidate.own === own;
    assert.equal(await pair.drop(only('z')), false);
    assert.equal(await pair.drop(only('a')), false);
    assert.deepEqual([pair.active?.own, pair.draining, pair.change?.own], ['b', [], 'c']);
    assert.equal(await pair.drop(only('b')), true);
    const again = await open(db);
    assert.deepEqual([again.active, again.change?.own], [undefined, 'c']);
    assert.equal(await pair.drop(only('c')), false);
    assert.equal((await open(db)).change, undefined);
  });

  it('has a random key of its own in place of an agreed one', async () => {
    const pair = await open(new FailingLevel());
    assert.equal(JSON.stringify(pair.unagreedKey), '"[secret]"');
  });
});

describe('tunnel view', () => {
  it('is named alike at both ends', () => {
    const here = view('a', 'x');
    const there = view('x', 'a');
    assert.equal(viewKey('A' as Aid, 'B' as Aid, here), viewKey('B' as Aid, 'A' as Aid, there));
    assert.notEqual(viewKey('A' as Aid, 'B' as Aid, here), viewKey('A' as Aid, 'B' as Aid, there));
    assert.ok(
      sameView(here, { ...here }) &&
        !sameView(here, there) &&
        !sameView(here, undefined) &&
        sameView(undefined, undefined),
    );
  });
});
