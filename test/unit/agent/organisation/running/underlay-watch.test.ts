import assert from 'node:assert/strict';
import { afterEach, describe, it } from 'mocha';
import { UnderlayWatch } from '#agent/organisation/running/underlay-watch';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

describe('the watch over the way out', () => {
  let stop = new AbortController();
  afterEach(() => {
    stop.abort();
    stop = new AbortController();
  });

  /** @param tells whether the system tells what changes */
  async function world(tells: boolean) {
    const clock = new SimulatedClock();
    const state = { underlay: 'a' as string | Error, reads: 0, changes: 0 };
    const listeners = new Set<() => void>();
    const failures: string[] = [];
    const watch = new UnderlayWatch({
      ways: tells
        ? {
            watch: (listener) => {
              listeners.add(listener);
              return { isTelling: true, [Symbol.dispose]: () => listeners.delete(listener) };
            },
          }
        : undefined,
      read: async () => {
        state.reads += 1;
        if (state.underlay instanceof Error) throw state.underlay;
        return state.underlay;
      },
      isOwn: () => false,
      clock,
      journal: { failed: (event) => failures.push(event), info: () => undefined },
      changed: () => {
        state.changes += 1;
      },
    });
    const running = watch.run(stop.signal);
    await clock.advance(1_000);
    const tell = () => {
      for (const listener of listeners) listener();
    };
    return { clock, state, tell, failures, listeners, running };
  }

  it('tells of a change within a moment, once for what changes together', async () => {
    const { clock, state, tell } = await world(true);
    assert.equal(state.changes, 0);
    for (let n = 0; n < 50; n++) tell();
    state.underlay = 'b';
    await clock.advance(300);
    tell();
    await clock.advance(2_000);
    assert.equal(state.changes, 1);
    assert.ok(state.reads <= 4, `${state.reads}`);
  });

  it('says nothing when what has changed is no part of it', async () => {
    const { clock, state, tell } = await world(true);
    tell();
    await clock.advance(2_000);
    assert.deepEqual([state.changes, state.reads], [0, 2]);
  });

  it('looks now and then where nobody tells', async () => {
    const { clock, state } = await world(false);
    state.underlay = 'b';
    await clock.advance(16_000);
    assert.equal(state.changes, 1);
  });

  it('goes on after a look that has failed, and ends with the agent', async () => {
    const { clock, state, tell, failures, listeners, running } = await world(true);
    state.underlay = new Error('no such file');
    tell();
    await clock.advance(1_000);
    assert.deepEqual(failures, ['underlay.unknown']);
    state.underlay = 'b';
    await clock.advance(120_000);
    assert.equal(state.changes, 1);
    stop.abort();
    await running;
    assert.equal(listeners.size, 0);
  });
});
