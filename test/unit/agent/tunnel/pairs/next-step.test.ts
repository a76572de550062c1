import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import {
  type DrainStep,
  type Following,
  follow,
  nextDrainStep,
  nextStep,
  type PairWorld,
  type Step,
} from '#agent/tunnel/pairs/next-step';
import type { PairLook } from '#agent/tunnel/pairs/room';
import type { Said } from '#kel/identifiers';

const NOW = 1_000_000_000;
const OLD = { own: 'a' as Said, peer: 'p' as Said };
/** Keys of both ends as they may be the newest, beside {@link OLD}. */
const OWN_NEW = { own: 'b' as Said, peer: 'p' as Said };
const PEER_NEW = { own: 'a' as Said, peer: 'q' as Said };
const BOTH_NEW = { own: 'b' as Said, peer: 'q' as Said };

const place = { slot: 0, port: 1, initiates: true };
const beside = { slot: 1, port: 2, initiates: true };
const up = { ...place, generation: 1, since: 0 };
const former = (isConfirmed: boolean, rxBytes = 0) => ({
  ...OLD,
  ...up,
  isConfirmed,
  until: 0,
  deadline: 0,
  rxBytes,
});
const changeTo = (view: typeof OLD) => ({
  ...view,
  step: 'waiting' as const,
  since: NOW,
  deadline: NOW,
});

const bare: PairLook = {
  isExchanging: false,
  active: undefined,
  staged: undefined,
  change: undefined,
  draining: [],
};
/** The states of a pair whose newest keys are `BOTH_NEW`, in the order of a change. */
const states = {
  'no tunnel yet': bare,
  'no tunnel yet, staged': { ...bare, staged: { ...BOTH_NEW, ...beside } },
  'on the former keys': { ...bare, active: { ...OLD, ...up } },
  'on own new, peer former': { ...bare, active: { ...OWN_NEW, ...up } },
  'on own former, peer new': { ...bare, active: { ...PEER_NEW, ...up } },
  'staged beside the former': {
    ...bare,
    active: { ...OLD, ...up },
    staged: { ...BOTH_NEW, ...beside },
  },
  'keys staged that are not the newest': {
    ...bare,
    active: { ...OLD, ...up },
    staged: { ...OWN_NEW, ...beside },
  },
  'flipped, the other end not': {
    ...bare,
    active: { ...BOTH_NEW, ...up },
    draining: [former(false)],
  },
  'flipped, both ends': { ...bare, active: { ...BOTH_NEW, ...up }, draining: [former(true)] },
  'on the newest keys': { ...bare, active: { ...BOTH_NEW, ...up } },
} satisfies Record<string, PairLook>;
type State = keyof typeof states;
const STATES = Object.keys(states) as State[];

/** Everything is there, and nothing is in the way. */
const calm: PairWorld = {
  newest: BOTH_NEW,
  isLower: true,
  isConnected: true,
  isWarm: false,
  agreement: { since: NOW },
  areDevicesMade: true,
};
/** What may have happened around a pair when it is looked at. */
const events = {
  'is asked for the first time': { agreement: 'unasked' },
  'asked in vain, the other end has to begin': { agreement: 'none' },
  'agreed, lower AID': {},
  'agreed, higher AID': { isLower: false },
  'agreed long ago, higher AID': { isLower: false, agreement: { since: NOW - 10_001 } },
  'a handshake was seen': { isWarm: true },
  'a handshake was seen, the other agent is away': { isWarm: true, isConnected: false },
  'the other agent is away': { isConnected: false },
  'no device can be made': { areDevicesMade: false },
  'no device can be made, first asked': { areDevicesMade: false, agreement: 'unasked' },
  'keys revoked or unknown': { newest: undefined, isWarm: true },
} satisfies Record<string, Partial<PairWorld>>;
type Event = keyof typeof events;
const EVENTS = Object.keys(events) as Event[];

type Row = `${Step['kind']}: ${Step['why']}`;
const row = ({ kind, why }: Step): Row => `${kind}: ${why}`;

const AGREE = 'agree: unasked';
const THEY_AGREE = 'rest: the other end begins the agreement';
const OWN = 'lead: own key is new';
const BOTH = 'lead: both keys are new';
const LATE = 'lead: the other end is late';
const THEY_LEAD = 'wait: the other end leads';
const FLIP = 'flip: staged view is warm';
const DONE = 'rest: both ends on the newest keys';
const AWAY = 'rest: not connected';
const AWAY_STAGED = 'wait: not connected, a session may come';
const BROKEN = 'fail: devices not made';
const UNKNOWN = 'rest: keys not known';

/** One row per state, one column per event, in the order of {@link EVENTS}. */
const TABLE: Readonly<Record<State, readonly Row[]>> = {
  // biome-ignore format: a table
  'no tunnel yet': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, BOTH, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'no tunnel yet, staged': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, FLIP, FLIP, AWAY_STAGED, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'on the former keys': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, BOTH, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'on own new, peer former': [AGREE, THEY_AGREE, THEY_LEAD, THEY_LEAD, LATE, THEY_LEAD, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'on own former, peer new': [AGREE, THEY_AGREE, OWN, OWN, OWN, OWN, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'staged beside the former': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, FLIP, FLIP, AWAY_STAGED, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'keys staged that are not the newest': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, BOTH, AWAY_STAGED, AWAY_STAGED, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'flipped, the other end not': [AGREE, THEY_AGREE, BOTH, THEY_LEAD, LATE, BOTH, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'flipped, both ends': [AGREE, THEY_AGREE, DONE, DONE, DONE, DONE, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
  // biome-ignore format: a table
  'on the newest keys': [AGREE, THEY_AGREE, DONE, DONE, DONE, DONE, AWAY, AWAY, BROKEN, AGREE, UNKNOWN],
};

describe('next step of a pair', () => {
  for (const state of STATES) {
    for (const [n, event] of EVENTS.entries()) {
      const expected = TABLE[state][n];
      it(`${state}, ${event}: ${expected}`, () => {
        const step = nextStep(states[state], { ...calm, ...events[event] }, NOW);
        assert.equal(row(step), expected);
        if ('view' in step) assert.deepEqual(step.view, BOTH_NEW);
      });
    }
  }

  it('leaves a pair alone in every state and at every event while an exchange of it runs', () => {
    for (const state of STATES) {
      for (const event of EVENTS) {
        const world = { ...calm, ...events[event] };
        const step = nextStep({ ...states[state], isExchanging: true }, world, NOW);
        assert.equal(
          row(step),
          world.newest === undefined ? UNKNOWN : 'rest: an exchange runs',
          `${state}, ${event}`,
        );
      }
    }
  });

  it('rests at every event where the other end is no member', () => {
    for (const event of EVENTS)
      assert.equal(
        row(nextStep(undefined, { ...calm, ...events[event] }, NOW)),
        'rest: not a member',
      );
  });

  it('leads at exactly one end, whichever keys are new, and at both once the other is late', () => {
    const mirrored = (view: typeof OLD) => ({ own: view.peer, peer: view.own });
    for (const newest of [OWN_NEW, PEER_NEW, BOTH_NEW]) {
      const kindAt = (isHere: boolean, agreedAt: number) => {
        const of = (view: typeof OLD) => (isHere ? view : mirrored(view));
        const pair = { ...bare, active: { ...of(OLD), ...up } };
        const agreement = { since: agreedAt };
        return nextStep(pair, { ...calm, newest: of(newest), isLower: isHere, agreement }, NOW)
          .kind;
      };
      assert.deepEqual([kindAt(true, NOW), kindAt(false, NOW)].sort(), ['lead', 'wait']);
      assert.deepEqual([kindAt(true, 0), kindAt(false, 0)], ['lead', 'lead']);
    }
  });

  it('names every row that there is somewhere in the table', () => {
    const named = new Set<Row>(Object.values(TABLE).flat());
    const all: Record<Step['why'], true> = {
      'not a member': true,
      'keys not known': true,
      'an exchange runs': true,
      'not connected': true,
      'the other end begins the agreement': true,
      'both ends on the newest keys': true,
      'not connected, a session may come': true,
      'the other end leads': true,
      'staged view is warm': true,
      unasked: true,
      'own key is new': true,
      'both keys are new': true,
      'the other end is late': true,
      'devices not made': true,
    };
    const elsewhere = ['not a member', 'an exchange runs'];
    const missing = Object.keys(all).filter(
      (why) => !elsewhere.includes(why) && ![...named].some((name) => name.endsWith(`: ${why}`)),
    );
    assert.deepEqual(missing, []);
  });
});

describe('change of a pair on disk', () => {
  const rows: readonly [string, Partial<PairLook>, typeof OLD | undefined, Following][] = [
    ['nothing was ever up', {}, OLD, 'want'],
    ['nothing was ever up, it is known', { change: changeTo(OLD) }, OLD, 'keep'],
    ['on the newest keys', { active: { ...OLD, ...up } }, OLD, 'keep'],
    ['newer keys have come', { active: { ...OLD, ...up } }, OWN_NEW, 'want'],
    [
      'newer keys have come, it is known',
      { active: { ...OLD, ...up }, change: changeTo(OWN_NEW) },
      OWN_NEW,
      'keep',
    ],
    [
      'still newer keys have come',
      { active: { ...OLD, ...up }, change: changeTo(OWN_NEW) },
      BOTH_NEW,
      'want',
    ],
    [
      'the newer keys are gone again',
      { active: { ...OLD, ...up }, change: changeTo(OWN_NEW) },
      OLD,
      'settle',
    ],
    [
      'the active view was staged anew elsewhere',
      { active: { ...OLD, ...up }, change: changeTo(OLD) },
      OLD,
      'keep',
    ],
    [
      'keys are not known',
      { active: { ...OLD, ...up }, change: changeTo(OWN_NEW) },
      undefined,
      'keep',
    ],
    [
      'newer keys have come during an exchange',
      { active: { ...OLD, ...up }, isExchanging: true },
      OWN_NEW,
      'keep',
    ],
  ];
  for (const [name, look, newest, expected] of rows)
    it(`${name}: ${expected}`, () => {
      assert.equal(follow({ ...bare, ...look }, newest), expected);
    });
});

describe('next step of a former view', () => {
  type DrainRow = `${DrainStep['kind']}: ${DrainStep['why']}`;
  const rows: readonly [string, ReturnType<typeof former>, number, boolean, DrainRow][] = [
    ['never looked at', former(false, -1), 5, false, 'count: first look'],
    ['never looked at, confirmed', former(true, -1), 0, false, 'count: first look'],
    ['never looked at, overdue', former(true, -1), 0, true, 'count: first look'],
    ['silent', former(true, 5), 5, false, 'retire: silent'],
    ['silent, overdue', former(true, 5), 5, true, 'retire: silent'],
    ['packets come', former(true, 5), 6, false, 'stay: packets come'],
    ['its device was made anew', former(true, 5), 0, false, 'stay: packets come'],
    ['silent, the other end has not flipped', former(false, 5), 5, false, 'stay: not confirmed'],
    [
      'packets come, the other end has not flipped',
      former(false, 5),
      6,
      false,
      'stay: packets come',
    ],
    ['packets come, overdue', former(true, 5), 6, true, 'retire: overdue'],
    ['the other end never flipped, overdue', former(false, 5), 5, true, 'retire: overdue'],
  ];
  for (const [name, view, rxBytes, isOverdue, expected] of rows)
    it(`${name}: ${expected}`, () => {
      const { kind, why } = nextDrainStep(view, rxBytes, isOverdue);
      assert.equal(`${kind}: ${why}`, expected);
    });
});
