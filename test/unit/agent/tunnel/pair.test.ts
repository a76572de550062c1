import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { StateTable } from '#agent/state-table';
import { Devices } from '#agent/tunnel/devices';
import { Pair } from '#agent/tunnel/pair';
import { sameView, viewKey } from '#agent/tunnel/view';
import type { Aid, Said } from '#kel/identifiers';
import type { Database } from '#kel/store/durable-table';
import { Secret } from '#src/secret';
import type { TunnelDriver } from '#src/wireguard/tunnel-driver';
import { FailingLevel } from '../../kel-store/failing-level.ts';

const aid = 'alice' as Aid;
const said = (name: string) => name as Said;
const view = (own: string, peer: string) => ({ own: said(own), peer: said(peer) });
const table = (db: FailingLevel) => StateTable.open(db as Database, 'tunnel');
const open = async (db: FailingLevel) =>
  new Pair(await table(db), aid, new Secret(new Uint8Array(32)));

describe('pair', () => {
  it('moves from view to view, one active and the one before draining, across restarts', async () => {
    const db = new FailingLevel();
    const pair = await open(db);
    assert.deepEqual(pair.views(), []);
    await pair.want(view('a', 'x'), 500, 100);
    assert.deepEqual(pair.views(), [], 'wanted is not yet on the device');
    await pair.reach('parked', 'parking', true);
    assert.deepEqual((await open(db)).target, { ...view('a', 'x'), initiates: true, parked: true });
    await pair.reach('parked', 'parking');
    assert.equal((await open(db)).target?.initiates, false);
    await pair.reach('parked', 'moving');
    assert.ok(pair.uses(said('a')) && !pair.uses(said('x')));
    await pair.activate(view('a', 'x'), true, 1_000, 9_000);
    assert.deepEqual(
      [pair.change?.step, pair.change?.since, pair.change?.deadline],
      ['moved', 500, 600],
    );
    await pair.settle();
    assert.equal(pair.change, undefined);
    assert.deepEqual(pair.active, {
      ...view('a', 'x'),
      initiates: true,
      generation: 1,
      since: 1_000,
    });
    assert.equal(pair.target, undefined);
    assert.equal(pair.draining, undefined);
    await pair.activate(view('b', 'x'), false, 2_000, 10_000);
    assert.deepEqual(pair.draining, {
      ...view('a', 'x'),
      initiates: true,
      generation: 1,
      since: 1_000,
      until: 10_000,
    });
    const again = await open(db);
    assert.deepEqual(again.active, {
      ...view('b', 'x'),
      initiates: false,
      generation: 2,
      since: 2_000,
    });
    assert.deepEqual(again.draining, pair.draining);
    assert.ok(again.uses(said('a')) && again.uses(said('b')));
    await again.drained();
    assert.equal((await open(db)).draining, undefined);
    assert.deepEqual((await open(db)).active, again.active);
  });

  it('counts no generation for what it has already', async () => {
    const pair = await open(new FailingLevel());
    await pair.activate(view('a', 'x'), true, 1, 2);
    await pair.activate(view('a', 'x'), true, 5, 6);
    assert.deepEqual(
      [pair.active?.generation, pair.active?.since, pair.draining],
      [1, 1, undefined],
    );
    await pair.activate(view('a', 'x'), false, 7, 8);
    assert.deepEqual(
      [pair.active?.generation, pair.draining],
      [2, undefined],
      'the other end starts now; nothing drains',
    );
  });

  it('is forgotten whole', async () => {
    const db = new FailingLevel();
    const pair = await open(db);
    await pair.activate(view('a', 'x'), true, 1, 2);
    await pair.activate(view('b', 'x'), true, 1, 2);
    await pair.forget();
    for (const it of [pair, await open(db)]) assert.deepEqual(it.views(), []);
  });

  it('is at the view before or after a write that fails, on disk and in memory', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      const db = new FailingLevel();
      const pair = await open(db);
      await pair.activate(view('a', 'x'), true, 1, 2);
      await pair.want(view('b', 'x'), 2, 10);
      await pair.reach('parked', 'parking');
      db.failAt(1, kind);
      await assert.rejects(pair.activate(view('b', 'x'), false, 3, 4), {
        code: 'STORE_WRITE_FAILED',
      });
      assert.equal(pair.active?.own, 'a');
      assert.equal(pair.target?.parked, true);
      await assert.rejects(pair.drained(), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      assert.equal((await open(db)).active?.own, kind === 'lost' ? 'a' : 'b');
      await pair.activate(view('b', 'x'), false, 3, 4);
      assert.deepEqual([(await open(db)).active?.own, (await open(db)).draining?.own], ['b', 'a']);
    }
  });

  it('has one change under way, known on disk, begun once', async () => {
    const db = new FailingLevel();
    const pair = await open(db);
    await pair.want(view('b', 'x'), 2, 10);
    await pair.reach('staged', 'moving');
    await pair.want(view('b', 'x'), 7, 10);
    const expected = { ...view('b', 'x'), step: 'staged', end: 'moving', since: 2, deadline: 12 };
    assert.deepEqual((await open(db)).change, expected);
    assert.deepEqual(pair.target, { ...view('b', 'x'), initiates: true, parked: false });
    await pair.want(view('c', 'x'), 7, 10);
    assert.deepEqual(
      [pair.change?.own, pair.change?.step, pair.target],
      ['c', 'waiting', undefined],
    );
    await pair.settle();
    await pair.reach('parked', 'parking');
    assert.equal(pair.change, undefined, 'nothing is reached that is not wanted');
  });

  it('lets go of what was revoked, and of nothing else', async () => {
    const db = new FailingLevel();
    const pair = await open(db);
    await pair.activate(view('a', 'x'), false, 1, 2);
    await pair.activate(view('b', 'x'), false, 3, 4);
    await pair.want(view('c', 'x'), 5, 6);
    assert.equal(await pair.drop(({ own }) => own === 'z'), false);
    assert.equal(await pair.drop(({ own }) => own === 'a'), false);
    assert.deepEqual([pair.active?.own, pair.draining, pair.change?.own], ['b', undefined, 'c']);
    assert.equal(await pair.drop(({ own }) => own === 'b'), true);
    const again = await open(db);
    assert.deepEqual([again.active, again.change?.own], [undefined, 'c']);
    assert.equal(await pair.drop(({ peer }) => peer === 'x'), false);
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

describe('device slots', () => {
  const slots = { prefix: 'km', port: 51_820 };
  const removed: string[] = [];
  const driver = {
    remove: async (name: string) => void removed.push(name),
  } as unknown as TunnelDriver;
  const devices = async (db: FailingLevel, settings = slots) =>
    new Devices(await table(db), settings);

  it('alternate, are kept across restarts, and are two', async () => {
    const db = new FailingLevel();
    const first = await devices(db);
    assert.deepEqual(await first.assign(said('a')), { name: 'km0', port: 51_820 });
    assert.deepEqual(await first.assign(said('a')), { name: 'km0', port: 51_820 });
    assert.equal(first.hasFreeSlot, true);
    assert.deepEqual(await first.assign(said('b')), { name: 'km1', port: 51_821 });
    assert.equal(first.hasFreeSlot, false);
    await assert.rejects(first.assign(said('c')), { code: 'TUNNEL_BUSY' });
    const again = await devices(db);
    assert.deepEqual([...again.assigned.keys()], ['a', 'b']);
    await again.release(said('a'), driver);
    assert.deepEqual(removed.splice(0), ['km0']);
    assert.deepEqual(await again.assign(said('c')), { name: 'km0', port: 51_820 });
    await again.release(said('none'), driver);
    assert.deepEqual(removed, []);
  });

  it('are not forgotten while the device is there', async () => {
    const db = new FailingLevel();
    const slot = await devices(db);
    await slot.assign(said('a'));
    const failing = { remove: () => Promise.reject(new Error('busy')) } as unknown as TunnelDriver;
    await assert.rejects(slot.release(said('a'), failing), /busy/);
    assert.ok((await devices(db)).assigned.has(said('a')));
  });

  it('are assigned and released whole when a write fails', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      const db = new FailingLevel();
      const slot = await devices(db);
      db.failAt(1, kind);
      await assert.rejects(slot.assign(said('a')), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      assert.equal(slot.assigned.size, 0);
      assert.deepEqual(await slot.assign(said('a')), { name: 'km0', port: 51_820 });
      db.failAt(1, kind);
      await assert.rejects(slot.release(said('a'), driver), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      const again = await devices(db);
      assert.equal(again.assigned.size, kind === 'lost' ? 1 : 0);
      await again.release(said('a'), driver);
      assert.equal((await devices(db)).assigned.size, 0);
    }
  });
});
