import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Liveness } from '#agent/network/liveness';
import { watchSteps } from '#src/clock-steps';
import { SimulatedClock } from '../../../support/simulation/simulated-clock.ts';

interface End {
  /** What each ping meets, the last one for ever. */
  readonly answers: ('answers' | 'silent' | 'refuses')[];
  dead: boolean;
  pings: number;
}

function world(...ends: End['answers'][]) {
  const clock = new SimulatedClock();
  const connections = ends.map((answers): End => ({ answers, dead: false, pings: 0 }));
  const stop = new AbortController();
  const liveness = new Liveness<End>({
    clock,
    connections: () => connections.filter(({ dead }) => !dead),
    ping: (end, signal) => {
      const answer = end.answers[Math.min(end.pings, end.answers.length - 1)];
      end.pings += 1;
      if (answer === 'answers') return Promise.resolve();
      if (answer === 'refuses') return Promise.reject(new Error('no such protocol'));
      return new Promise((_, reject) => {
        signal.addEventListener('abort', () => reject(new Error('aborted')), { once: true });
      });
    },
    dead: (end) => {
      end.dead = true;
    },
  });
  void liveness.run(stop.signal);
  return { clock, connections, stop, liveness };
}

describe('liveness of connections', () => {
  it('ends those that answer nothing, and none for one ping that fails, or two', async () => {
    const { clock, connections } = world(
      ['answers'],
      ['silent', 'answers'],
      ['silent', 'silent', 'answers'],
      ['refuses'],
      ['silent'],
    );
    await clock.advance(600_000);
    assert.deepEqual(
      connections.map(({ dead }) => dead),
      [false, false, false, false, true],
    );
    assert.equal(connections[4]?.pings, 3);
  });

  it('hurries where the way may have changed: seconds later the dead ones are known', async () => {
    const { clock, connections, liveness, stop } = world(
      ['silent'],
      ['silent', 'answers'],
      ['answers'],
    );
    liveness.hurry(connections, stop.signal);
    // Asked for twice, looked at once.
    liveness.hurry(connections, stop.signal);
    await clock.advance(7_000);
    assert.deepEqual(
      connections.map(({ dead, pings }) => ({ dead, pings })),
      [
        { dead: true, pings: 3 },
        { dead: false, pings: 2 },
        { dead: false, pings: 1 },
      ],
    );
  });

  it('asks one connection once at a time, and stops with its signal', async () => {
    const { clock, connections, stop } = world(['silent', 'answers']);
    await clock.advance(12_000);
    assert.equal(connections[0]?.pings, 1);
    await clock.advance(8_000);
    stop.abort();
    const { pings } = connections[0] as End;
    await clock.advance(600_000);
    assert.equal(connections[0]?.pings, pings);
  });

  it('does the same whichever way the wall clock steps', async () => {
    const { clock, connections } = world(['answers'], ['silent']);
    for (let n = 0; n < 60; n++) {
      clock.stepWall([-3_600_000, 7_200_000, -3_600_000][n % 3] as number);
      await clock.advance(5_000);
    }
    assert.deepEqual(
      connections.map(({ dead }) => dead),
      [false, true],
    );
  });
});

describe('steps of the wall clock', () => {
  it('are told once each, by how much, and nothing else is', async () => {
    const clock = new SimulatedClock();
    const stop = new AbortController();
    const steps: number[] = [];
    void watchSteps(clock, stop.signal, (ms) => steps.push(ms));
    await clock.advance(60_000);
    clock.stepWall(-3_600_000);
    await clock.advance(60_000);
    clock.stepWall(500);
    await clock.advance(60_000);
    clock.stepWall(7_200_000);
    await clock.advance(60_000);
    stop.abort();
    clock.stepWall(7_200_000);
    await clock.advance(60_000);
    assert.deepEqual(steps, [-3_600_000, 7_200_000]);
  });
});
