import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { raceDials } from '#agent/network/dial-race';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

/** Milliseconds until a way leads there, or fails. */
type Way = { readonly name: string; readonly leadsMs?: number; readonly failsMs?: number };

function world() {
  const clock = new SimulatedClock();
  const log: string[] = [];
  const stop = new AbortController();
  const begun = clock.monotonic();
  const race = (...ways: readonly Way[]) => {
    const running = raceDials<Way, string>({
      clock,
      ways,
      signal: stop.signal,
      async take({ name, leadsMs, failsMs }, signal) {
        log.push(`${name} at ${clock.monotonic() - begun}`);
        if (leadsMs !== undefined) {
          // As a handshake that is done when the signal comes.
          await clock.sleep(leadsMs);
          return name;
        }
        await clock.sleep(failsMs ?? 1e9, signal);
        throw new Error(`${name} failed`);
      },
      surplus: (name) => log.push(`${name} given up`),
    });
    running.catch(() => undefined);
    return clock.run(running);
  };
  return { clock, log, stop, race };
}

describe('several ways to one peer', () => {
  it('take the first that leads there, which no way that swallows packets holds up', async () => {
    const { race, log } = world();
    assert.equal(await race({ name: 'deaf' }, { name: 'good', leadsMs: 40 }), 'good');
    assert.deepEqual(log, ['deaf at 0', 'good at 250']);
  });

  it('go on at once after one that fails, and leave those alone that are not needed', async () => {
    const { race, log } = world();
    const ways = [
      { name: 'closed', failsMs: 10 },
      { name: 'good', leadsMs: 100 },
      { name: 'other', leadsMs: 1 },
    ];
    assert.equal(await race(...ways), 'good');
    assert.deepEqual(log, ['closed at 0', 'good at 10']);
  });

  it('give up what comes too late', async () => {
    const { race, log, clock } = world();
    assert.equal(await race({ name: 'slow', leadsMs: 400 }, { name: 'fast', leadsMs: 10 }), 'fast');
    await clock.advance(1_000);
    assert.deepEqual(log, ['slow at 0', 'fast at 250', 'slow given up']);
  });

  it('fail with the reasons of all', async () => {
    const { race } = world();
    const ways = [
      { name: 'a', failsMs: 10 },
      { name: 'b', failsMs: 600 },
    ];
    await assert.rejects(race(...ways), (error: AggregateError) => {
      assert.deepEqual(
        error.errors.map(({ message }) => message),
        ['a failed', 'b failed'],
      );
      return true;
    });
    await assert.rejects(race(), AggregateError);
  });

  it('end with the signal, for its reason', async () => {
    const { race, stop, clock } = world();
    setImmediate(() => {
      void clock.sleep(300).then(() => stop.abort(new Error('enough')));
    });
    await assert.rejects(race({ name: 'a' }, { name: 'b' }), /enough/);
  });
});
