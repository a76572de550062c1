import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createJournal, journalOf } from '#src/journal';
import { SimulatedClock } from '../../support/simulation/simulated-clock.ts';

describe('journal', () => {
  it('writes one line of JSON per event, from its level up', () => {
    const lines: string[] = [];
    const journal = createJournal(new SimulatedClock(), 'warn', (line) => lines.push(line));
    journal.debug('a.b');
    journal.info('a.b');
    journal.warn('peer.knocks', {
      aid: 'E',
      count: 2,
      ok: true,
      nothing: undefined,
      text: 'two\nlines',
    });
    journal.error('agent.failed');
    assert.deepEqual(
      lines.map((line) => JSON.parse(line)),
      [
        {
          time: '2026-01-01T00:00:00.000Z',
          level: 'WARN',
          event: 'peer.knocks',
          aid: 'E',
          count: 2,
          ok: true,
          text: 'two\nlines',
        },
        { time: '2026-01-01T00:00:00.000Z', level: 'ERROR', event: 'agent.failed' },
      ],
    );
    assert.ok(lines.every((line) => line.indexOf('\n') === line.length - 1));
  });

  it('tells of anything thrown as its code and its message, never of its stack, its cause or what it carries', () => {
    const lines: [string, string, object][] = [];
    const journal = journalOf((...line) => lines.push(line));
    const secret = { cause: new Error('secret'), pin: 'secret' };
    const thrown: readonly [unknown, string, string][] = [
      [
        Object.assign(new Error('no answer'), { code: 'NETWORK_CLOSED', ...secret }),
        'NETWORK_CLOSED',
        'no answer',
      ],
      [new TypeError('a mistake', secret), 'none', 'a mistake'],
      [Object.assign(new Error('odd'), { code: 17 }), 'none', 'odd'],
      ['a word', 'none', 'a word'],
      [undefined, 'none', 'undefined'],
      [null, 'none', 'null'],
    ];
    for (const [error] of thrown) journal.failed('sync.failed', error, { peer: 'P' });
    assert.deepEqual(
      lines,
      thrown.map(([, code, message]) => ['warn', 'sync.failed', { peer: 'P', code, message }]),
    );
    journal.failed('agent.failed', new Error('it fell'), {}, 'error');
    journal.failed('knock.failed', new Error('it fell'), {}, 'debug');
    assert.deepEqual(
      lines.slice(-2).map(([level]) => level),
      ['error', 'debug'],
    );
  });

  it('writes an event that comes again and again at a rate, says how many it left out, and leaves out no error', async () => {
    const clock = new SimulatedClock();
    const lines: { event: string; omitted?: number }[] = [];
    const journal = createJournal(clock, 'info', (line) => lines.push(JSON.parse(line)));
    for (let n = 0; n < 10_000; n++) journal.warn('psk.failed', { aid: 'E' });
    const written = lines.length;
    assert.ok(written < 1_000);
    journal.info('peer.bound');
    assert.equal(lines.at(-1)?.event, 'peer.bound');
    await clock.advance(60_000);
    journal.warn('psk.failed');
    assert.equal(lines.at(-1)?.omitted, 10_000 - written);
    for (let n = 0; n < 2_000; n++) journal.error('agent.failed');
    assert.equal(lines.filter(({ event }) => event === 'agent.failed').length, 2_000);
  });
});
