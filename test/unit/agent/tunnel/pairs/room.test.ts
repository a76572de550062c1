import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  IN_FLIGHT_MS,
  isIn,
  isSettling,
  keptKeys,
  type PairLook,
  PROMPT_MS,
  slotToGiveUp,
  wouldBeLeftBehind,
} from '#agent/tunnel/pairs/room';
import type { Said } from '#kel/identifiers';

const NOW = 1_000_000_000;
const said = (name: string) => name as Said;
const view = (own: string, slot = 0) =>
  ({ own: said(own), peer: said('p'), slot, port: 1, initiates: true }) as const;
const active = (own: string, since: number, slot = 0) => ({
  ...view(own, slot),
  generation: 1,
  since,
});
const draining = (own: string, isConfirmed: boolean, slot = 1) => ({
  ...active(own, 0, slot),
  isConfirmed,
  until: 0,
  deadline: 0,
  rxBytes: 0,
});
const change = (own: string, since: number, step: 'waiting' | 'staged' = 'waiting') => ({
  own: said(own),
  peer: said('p'),
  step,
  since,
  deadline: NOW + 900_000,
});
const none: PairLook = {
  isExchanging: false,
  active: undefined,
  staged: undefined,
  change: undefined,
  draining: [],
};

describe('room for the next own key', () => {
  /** What a peer, or a path, can make of a pair; and whether a rotation has a moment for it. */
  const rows: readonly [string, Partial<PairLook>, connected: boolean, waits: boolean][] = [
    ['nothing was ever up', { change: change('b', NOW) }, true, false],
    [
      'nothing was ever up, an exchange without an answer runs',
      { change: change('b', NOW), isExchanging: true },
      true,
      false,
    ],
    ['at rest', { active: active('a', NOW - 60_000) }, true, false],
    [
      'a change has just begun',
      { active: active('a', 0), change: change('b', NOW - 50) },
      true,
      true,
    ],
    [
      'of a peer that is away',
      { active: active('a', 0), change: change('b', NOW - 50) },
      false,
      false,
    ],
    [
      'of a peer that went down in its midst',
      { active: active('a', 0), change: change('b', NOW - 50, 'staged') },
      false,
      true,
    ],
    [
      'a handshake that does not come',
      {
        active: active('a', 0),
        change: change('b', NOW - PROMPT_MS, 'staged'),
        isExchanging: true,
      },
      true,
      false,
    ],
    [
      'since before the clock was set back',
      {
        active: active('a', 0),
        change: change('b', NOW + 3_600_000, 'staged'),
        isExchanging: true,
      },
      true,
      false,
    ],
    [
      'the peer has not said that it flipped',
      { active: active('b', NOW - IN_FLIGHT_MS), draining: [draining('a', false)] },
      true,
      true,
    ],
    [
      'and never says it',
      { active: active('b', NOW - PROMPT_MS), draining: [draining('a', false)] },
      true,
      false,
    ],
    [
      'packets are on their way',
      { active: active('b', NOW - IN_FLIGHT_MS + 1), draining: [draining('a', true)] },
      true,
      true,
    ],
    [
      'all of them have come',
      { active: active('b', NOW - IN_FLIGHT_MS), draining: [draining('a', true)] },
      true,
      false,
    ],
    [
      'only the key of the peer was changed',
      { active: active('b', NOW), draining: [draining('b', false)] },
      true,
      false,
    ],
  ];
  for (const [what, look, isConnected, waits] of rows)
    it(`is ${waits ? 'waited for a moment' : 'not waited for'}: ${what}`, () => {
      assert.equal(isSettling({ ...none, ...look }, isConnected, NOW), waits);
    });

  it('waits for no pair longer than a change takes, whatever is remembered of it', () => {
    for (const [, look, isConnected] of rows)
      for (const later of [PROMPT_MS, 60_000, 900_000, 86_400_000, -7_200_000]) {
        const { change, active } = look;
        const shifted = {
          ...none,
          ...look,
          change: change && { ...change, since: Math.min(change.since, NOW) },
          active: active && { ...active, since: Math.min(active.since, NOW) },
        };
        assert.equal(isSettling(shifted, isConnected, NOW + later), false);
      }
  });

  it('keeps the newest two keys that stand', () => {
    const keys = ['a', 'b', 'c', 'd'].map(said);
    assert.deepEqual([...keptKeys(keys, () => false)], ['c', 'd']);
    assert.deepEqual([...keptKeys(keys, (key) => key === 'c')], ['b', 'd']);
    assert.deepEqual([...keptKeys([], () => false)], []);
  });

  it('says whose tunnel goes with the next key', () => {
    assert.equal(wouldBeLeftBehind({ active: active('a', 0) }, said('b')), true);
    assert.equal(wouldBeLeftBehind({ active: active('b', 0) }, said('b')), false);
    assert.equal(wouldBeLeftBehind({ active: undefined }, said('b')), false);
  });

  it('gives up the device with the fewest tunnels, and none that must stay', () => {
    const pairs: readonly PairLook[] = [
      { ...none, active: active('a', 0, 0), draining: [draining('a', true, 1)] },
      {
        ...none,
        active: active('a', 0, 0),
        staged: view('a', 2),
        draining: [draining('a', true, 3)],
      },
      { ...none, active: active('a', 0, 3), draining: [draining('a', true, 2)] },
    ];
    assert.equal(
      slotToGiveUp(pairs, () => true),
      1,
    );
    assert.equal(
      slotToGiveUp(pairs.slice(1), () => true),
      2,
    );
    assert.equal(
      slotToGiveUp(pairs.slice(1), (_, role) => role === 'draining'),
      undefined,
    );
    assert.equal(
      slotToGiveUp([], () => true),
      undefined,
    );
    // However crowded, one goes when all may.
    const crowded = [0, 1, 2, 3].map((slot) => ({ ...none, active: active('a', 0, slot) }));
    assert.equal(
      slotToGiveUp([...crowded, crowded[0] as PairLook], () => true),
      1,
    );
  });

  it('names the views of a device and no others', () => {
    const there = isIn(1, [view('a', 1), view('b', 2)]);
    assert.deepEqual([there(view('a')), there(view('b'))], [true, false]);
  });
});
