import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Devices, MAX_DEVICES } from '#agent/tunnel/pairs/devices';
import type { Said } from '#kel/identifiers';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import type { TunnelDriver } from '#src/wireguard/tunnel-driver';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';

const said = (name: string) => name as Said;
const configured = { prefix: 'km', port: 51_820 };
const open = async (db: FailingLevel, settings = configured) =>
  new Devices(await StateTable.open(db as Database, 'tunnel'), settings);
const device = (slot: number, tunnelKey: string) => ({
  slot,
  name: `km${slot}`,
  port: 51_820 + slot,
  tunnelKey,
});

describe('device slots', () => {
  const removed: string[] = [];
  const driver = {
    remove: async (name: string) => void removed.push(name),
  } as unknown as TunnelDriver;

  it('have one key each, are kept across restarts, and are four', async () => {
    const db = new FailingLevel();
    const first = await open(db);
    assert.deepEqual(await first.place(said('a')), device(0, 'a'));
    assert.deepEqual(await first.place(said('a')), device(0, 'a'));
    assert.deepEqual(await first.place(said('a'), new Set([0])), device(1, 'a'));
    assert.deepEqual(await first.place(said('b')), device(2, 'b'));
    assert.deepEqual([first.canPlace(said('c')), first.canPlace(said('a'))], [true, true]);
    assert.deepEqual(await first.place(said('b'), new Set([2])), device(3, 'b'));
    assert.deepEqual([first.canPlace(said('c')), first.canPlace(said('a'))], [false, true]);
    assert.equal(first.canPlace(said('a'), new Set([0, 1])), false);
    await assert.rejects(first.place(said('c')), { code: 'TUNNEL_BUSY' });
    await assert.rejects(first.place(said('a'), new Set([0, 1])), { code: 'TUNNEL_BUSY' });
    const again = await open(db);
    assert.equal(again.all().length, MAX_DEVICES);
    assert.deepEqual([again.of(said('b'))?.slot, again.at(1)?.tunnelKey], [2, 'a']);
    await again.release(device(0, 'a') as never, driver);
    assert.deepEqual(removed.splice(0), ['km0']);
    assert.deepEqual(await again.place(said('c')), device(0, 'c'));
  });

  it('follow the configuration when the agent starts, and say which ones did', async () => {
    const db = new FailingLevel();
    const first = await open(db);
    await first.place(said('a'));
    await first.place(said('b'));
    assert.deepEqual(await (await open(db)).configure(driver), new Set());
    const moved = await open(db, { prefix: 'km', port: 4_000 });
    assert.deepEqual(await moved.configure(driver), new Set([0, 1]));
    assert.deepEqual(removed.splice(0), ['km0', 'km1']);
    assert.deepEqual(
      moved.all().map(({ name, port }) => [name, port]),
      [
        ['km0', 4_000],
        ['km1', 4_001],
      ],
    );
    assert.deepEqual(await moved.configure(driver), new Set());
  });

  it('are not forgotten while the device is there', async () => {
    const db = new FailingLevel();
    const devices = await open(db);
    const placed = await devices.place(said('a'));
    const failing = { remove: () => Promise.reject(new Error('busy')) } as unknown as TunnelDriver;
    await assert.rejects(devices.release(placed, failing), /busy/);
    assert.ok((await open(db)).at(0) !== undefined);
  });

  it('are placed and released whole when a write fails', async () => {
    for (const kind of ['lost', 'persisted'] as const) {
      const db = new FailingLevel();
      const devices = await open(db);
      db.failAt(1, kind);
      await assert.rejects(devices.place(said('a')), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      assert.deepEqual(devices.all(), []);
      const placed = await devices.place(said('a'));
      assert.deepEqual(placed, device(0, 'a'));
      db.failAt(1, kind);
      await assert.rejects(devices.release(placed, driver), { code: 'STORE_WRITE_FAILED' });
      db.heal();
      const again = await open(db);
      assert.equal(again.all().length, kind === 'lost' ? 1 : 0);
    }
  });
});
