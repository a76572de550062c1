import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  opening,
  parseWindow,
  type RotationPolicy,
  Schedule,
} from '#agent/tunnel/rotation/schedule';
import type { Database } from '#src/store/durable-table';
import { StateTable } from '#src/store/state-table';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { FailingLevel } from '../../../../support/kit/failing-level.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const journal = { debug() {}, info() {}, warn() {}, error() {}, failed() {} };
const onDemand: RotationPolicy = {
  askedBy: 'nobody',
  everyMs: { tunnel: 0, id: 0 },
  jitter: 0,
  windows: [],
  events: [],
};

class World {
  readonly clock = new SimulatedClock();
  readonly db = new FailingLevel();
  readonly made: string[] = [];
  fail = false;
  readonly #stop: AbortController[] = [];

  async start(policy: Partial<RotationPolicy>): Promise<Schedule> {
    for (const stop of this.#stop) stop.abort();
    const schedule = new Schedule(
      { ...onDemand, ...policy },
      {
        clock: this.clock,
        rng: new SeededRng('schedule'),
        table: await StateTable.open(this.db as Database, 'schedule'),
        journal,
      },
    );
    const stop = new AbortController();
    this.#stop.push(stop);
    schedule.run(stop.signal, async (kind) => {
      if (this.fail)
        throw Object.assign(new Error('the former key drains'), { code: 'TUNNEL_BUSY' });
      this.made.push(`${kind} ${new Date(this.clock.now()).toISOString().slice(0, 16)}`);
      await schedule.rotated(kind);
    });
    await this.clock.advance(1);
    return schedule;
  }
}

describe('schedule of rotations', () => {
  it('makes none on demand alone', async () => {
    const world = new World();
    const schedule = await world.start({});
    await world.clock.advance(30 * DAY);
    assert.deepEqual(world.made, []);
    assert.deepEqual(schedule.next(), { tunnel: null, id: null, putOff: null });
  });

  it('rotates at its interval, and one of the log counts for the tunnel keys too', async () => {
    const world = new World();
    const schedule = await world.start({ everyMs: { tunnel: DAY, id: 3 * DAY } });
    const began = world.clock.now();
    assert.equal(Math.round((Date.parse(schedule.next().tunnel ?? '') - began) / HOUR), 24);
    await world.clock.advance(3 * DAY + HOUR);
    assert.deepEqual(
      world.made.map((text) => text.split(' ')[0]),
      ['tunnel', 'tunnel', 'id'],
    );
    assert.ok(Date.parse(schedule.next().tunnel ?? '') > world.clock.now() + 22 * HOUR);
  });

  it('neither forgets nor puts off what is due when the agent restarts', async () => {
    const world = new World();
    const policy = { everyMs: { tunnel: DAY, id: 0 }, jitter: 0.5 };
    const due = (await world.start(policy)).next().tunnel;
    await world.clock.advance(6 * HOUR);
    assert.equal((await world.start(policy)).next().tunnel, due);
    assert.notEqual(
      (await world.start({ everyMs: { tunnel: 2 * DAY, id: 0 } })).next().tunnel,
      due,
    );
  });

  it('comes earlier by the jitter, never later', async () => {
    const world = new World();
    const began = world.clock.now();
    const schedule = await world.start({ everyMs: { tunnel: DAY, id: 0 }, jitter: 0.5 });
    const wait = Date.parse(schedule.next().tunnel ?? '') - began;
    assert.ok(wait >= DAY / 2 && wait < DAY, String(wait));
  });

  it('begins within the window, also one that passes midnight', async () => {
    const window = parseWindow('23:30-00:30');
    assert.ok(window);
    const world = new World();
    await world.start({ everyMs: { tunnel: 7 * HOUR, id: 0 }, windows: [window] });
    await world.clock.advance(3 * DAY);
    assert.ok(world.made.length >= 2);
    for (const text of world.made) assert.match(text, /T(23:[345]|00:[012])/);
  });

  it('plans anew what was planned by a clock that was ahead', async () => {
    const world = new World();
    await world.start({ everyMs: { tunnel: 7 * DAY, id: 0 } });
    const table = await StateTable.open(world.db as Database, 'schedule');
    const at = world.clock.now() + 365 * DAY;
    await table.put({ tunnel: { at, everyMs: 7 * DAY } });
    await world.start({ everyMs: { tunnel: 7 * DAY, id: 0 } });
    await world.clock.advance(8 * DAY);
    assert.equal(world.made.length, 1);
  });

  it('tries again what was in the way, and says so', async () => {
    const world = new World();
    world.fail = true;
    const schedule = await world.start({ everyMs: { tunnel: HOUR, id: 0 } });
    await world.clock.advance(HOUR + 90_000);
    assert.match(schedule.next().putOff ?? '', /drains/);
    world.fail = false;
    await world.clock.advance(120_000);
    assert.equal(world.made.length, 1);
    assert.equal(schedule.next().putOff, null);
  });

  it('rotates the tunnel keys at once on an event that the policy names, also after a crash', async () => {
    const world = new World();
    const window = parseWindow('02:00-02:01');
    assert.ok(window);
    const schedule = await world.start({ events: ['removal'], windows: [window] });
    await schedule.happened('suspension');
    await world.clock.advance(1_000);
    assert.deepEqual(world.made, []);
    await schedule.happened('removal');
    await world.clock.advance(1_000);
    assert.equal(world.made.length, 1);
    assert.match(world.made[0] ?? '', /^tunnel /);
    world.fail = true;
    await schedule.happened('removal');
    await world.clock.advance(1_000);
    assert.equal(world.made.length, 1);
    world.fail = false;
    await world.start({ events: ['removal'], windows: [window] });
    await world.clock.advance(1_000);
    assert.equal(world.made.length, 2);
    await world.clock.advance(DAY);
    assert.equal(world.made.length, 2);
  });

  it('finds the next opening', () => {
    const at = (text: string) => Date.parse(`2026-01-01T${text}:00Z`);
    const night = parseWindow('02:00-05:00');
    assert.ok(night);
    assert.deepEqual(opening(at('03:00'), [night]), { at: at('03:00'), openMs: 2 * HOUR });
    assert.deepEqual(opening(at('05:00'), [night]), { at: at('02:00') + DAY, openMs: 3 * HOUR });
    assert.deepEqual(opening(at('01:00'), [night]), { at: at('02:00'), openMs: 3 * HOUR });
    assert.deepEqual(opening(7, []), { at: 7, openMs: 0 });
    for (const bad of ['', '02:00', '2:00-3:00', '02:00-02:00', '24:00-01:00', '02:60-03:00'])
      assert.equal(parseWindow(bad), undefined, bad);
  });
});
