import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { createJournal } from '#agent/journal';
import { SimulatedClock } from '../../support/simulated-clock.ts';

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
});
