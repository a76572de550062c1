import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Views, type ViewsDeps } from '#agent/tunnel/pairs/views';
import type { Aid, Said } from '#kel/identifiers';
import { formatDateTime } from '#src/clock';

const NOW = Date.UTC(2026, 0, 1);
const DAY = 86_400_000;
const PEER = 'Epeer' as Aid;

interface Known {
  readonly own: Said | undefined;
  /** Establishment event that the peer's log is at. */
  readonly establishment: Said | undefined;
  /** Of the peer, oldest first. */
  readonly records: readonly { d: string; es: string; from: number; to: number }[];
  readonly revoked: readonly string[];
}

const record = (d: string, es = 'e1', from = NOW - DAY, to = NOW + DAY) => ({ d, es, from, to });
const calm: Known = {
  own: 'own' as Said,
  establishment: 'e1' as Said,
  records: [record('p1'), record('p2')],
  revoked: [],
};

function newest({ own, establishment, records, revoked }: Known) {
  return new Views({
    identity: { aid: 'Eown' },
    kel: { state: () => establishment && { establishment: { said: establishment } } },
    records: {
      list: () =>
        records.map(({ d, es, from, to }) => ({
          record: { d, es: { d: es }, nb: formatDateTime(from), na: formatDateTime(to) },
        })),
    },
    ownKeys: { currentRecord: own },
    clock: { now: () => NOW },
    isRevoked: (said: Said) => revoked.includes(said),
  } as unknown as ViewsDeps).newest(PEER);
}

describe('newest view of a pair', () => {
  const rows: readonly [string, Partial<Known>, peer: string | undefined][] = [
    ['both ends are known', {}, 'p2'],
    ['the own keys are not loaded yet', { own: undefined }, undefined],
    ['the log of the peer is not known', { establishment: undefined }, undefined],
    ['the peer has no record yet', { records: [] }, undefined],
    [
      'the log has rotated, the record is still to come',
      { establishment: 'e2' as Said },
      undefined,
    ],
    [
      'the record has come before the event that it is of',
      { records: [record('p1'), record('p2', 'e2')] },
      undefined,
    ],
    ['the record counts from later on', { records: [record('p1', 'e1', NOW + 1)] }, undefined],
    ['the record has run out', { records: [record('p1', 'e1', NOW - DAY, NOW)] }, undefined],
    ['the own keys are revoked', { revoked: ['own'] }, undefined],
    [
      'the keys of the peer are revoked, and nothing goes back to those before',
      { revoked: ['p2'] },
      undefined,
    ],
    ['former keys of the peer are revoked', { revoked: ['p1'] }, 'p2'],
  ];
  for (const [name, known, peer] of rows)
    it(`${name}: ${peer ?? 'none'}`, () => {
      const expected = peer && { own: 'own', peer };
      assert.deepEqual(newest({ ...calm, ...known }), expected);
    });
});
