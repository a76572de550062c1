import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { PairProgress } from '#agent/tunnel/pairs/tunnels';
import {
  postponement,
  type ReportSources,
  rotationPlan,
  rotationRows,
} from '#agent/tunnel/rotation/rotation-report';
import type { Aid, Said } from '#kel/identifiers';
import type { RecordStore } from '#kel/record/record-store';

const PEER = 'peer' as Aid;
const AWAY = 'away' as Aid;
const members = [PEER, AWAY].map(
  (aid) => ({ aid, name: aid, role: 'server', region: '' }) as const,
);
const NOW = Date.UTC(2026, 0, 1);
const DEADLINE = NOW + 600_000;
const view = (own: string, peer: string) => ({ own: own as Said, peer: peer as Said });
const active = {
  ...view('own1', 'peer1'),
  slot: 0,
  port: 51_820,
  initiates: true,
  generation: 1,
  since: NOW - 1_000,
} as const;
const next = view('own2', 'peer1');

interface World {
  readonly pair: Partial<PairProgress>;
  readonly now: number;
  readonly renewals: ReportSources['agreements']['renewals'];
  readonly agreedAt: number | undefined;
  readonly lastHandshake: number;
  readonly isPostponed: boolean;
}

/** `own2` is epoch 2 of the own keys, and so on; {@link AWAY} is not connected. */
function sources(world: Partial<World> = {}): ReportSources {
  const { pair, now = NOW, renewals = [], agreedAt, lastHandshake = 0 } = world;
  const progress = {
    aid: PEER,
    active: undefined,
    change: undefined,
    behind: undefined,
    draining: [],
    ...pair,
  };
  return {
    membership: {
      standing: {
        others: members,
        member: (who) => members.find(({ name }) => name === who),
      },
    },
    records: {
      get: (said: string) => ({ record: { t: 'tun', e: Number(said.at(-1)) } }),
    } as unknown as RecordStore,
    tunnels: {
      status: async () => [{ aid: progress.aid, peer: { lastHandshake } }],
      progress: () => [progress],
      kindOf: (former) => (former === undefined ? 'first' : 'tunnel'),
      wouldBeLeftBehind: (aid) => aid === AWAY,
    },
    agreements: {
      renewals,
      agreed: () => (agreedAt === undefined ? undefined : { at: agreedAt }),
    },
    epochKeys: {
      isPostponed: () => world.isPostponed === true,
      epoch: () => 7,
      epochOf: async () => 8,
    },
    directory: { peerOf: (aid) => (aid === PEER ? ('key' as never) : undefined) },
    skewOf: (aid) => (aid === PEER ? 80_400 : undefined),
    clock: { now: () => now },
  };
}

const change = { ...next, step: 'waiting', since: NOW, deadline: DEADLINE } as const;
const draining = {
  ...active,
  isConfirmed: false,
  until: NOW + 1,
  deadline: DEADLINE,
  rxBytes: 0,
} as const;
const flipped = { ...active, ...next, generation: 2, since: NOW } as const;

const table: readonly {
  readonly title: string;
  readonly world: Partial<World>;
  /** Kind, epoch, step, detail, and what it waits for, or part of it. */
  readonly rows: readonly (readonly [string, number, string, string, RegExp | null])[];
}[] = [
  { title: 'nothing for a tunnel at rest', world: { pair: { active } }, rows: [] },
  { title: 'nothing for a first tunnel', world: { pair: { change } }, rows: [] },
  {
    title: 'a change that goes on by itself',
    world: { pair: { active, change } },
    rows: [['tunnel', 2, 'prepare', 'waiting', null]],
  },
  {
    title: 'a change that is staged',
    world: { pair: { active, change: { ...change, step: 'staged' } } },
    rows: [['tunnel', 2, 'prepare', 'staged', null]],
  },
  {
    title: 'a change that the peer has not followed in time',
    world: { pair: { active, change }, now: DEADLINE },
    rows: [['tunnel', 2, 'prepare', 'waiting', /has not followed yet/]],
  },
  {
    title: 'a change with a peer that is away',
    world: { pair: { aid: AWAY, active, change } },
    rows: [['tunnel', 2, 'prepare', 'waiting', /^the peer is not connected$/]],
  },
  {
    title: 'a change with a peer that is away, and late',
    world: { pair: { aid: AWAY, active, change }, now: DEADLINE },
    rows: [['tunnel', 2, 'prepare', 'waiting', /not connected; it is late/]],
  },
  {
    title: 'a tunnel that went, because its peer is left behind',
    world: { pair: { change, behind: { ...view('own1', 'peer1'), since: NOW } } },
    rows: [['tunnel', 2, 'prepare', 'left-behind', /^there is no tunnel until/]],
  },
  {
    title: 'a tunnel that has flipped at this end',
    world: { pair: { active: flipped, draining: [draining] } },
    rows: [['tunnel', 2, 'activate', 'flipped', /has not said/]],
  },
  {
    title: 'a former view that drains',
    world: { pair: { active: flipped, draining: [{ ...draining, isConfirmed: true }] } },
    rows: [['tunnel', 2, 'retire', 'draining', null]],
  },
  {
    title: 'a preshared key that is wanted',
    world: { pair: { active }, renewals: [{ peer: PEER, since: NOW }] },
    rows: [['psk', 7, 'prepare', 'agreeing', null]],
  },
  {
    title: 'a preshared key that is wanted with a peer that is away',
    world: { pair: { aid: AWAY, active }, renewals: [{ peer: AWAY, since: NOW }] },
    rows: [['psk', 7, 'prepare', 'agreeing', /not connected/]],
  },
  {
    title: 'a preshared key that is agreed and has no handshake yet',
    world: { pair: { active }, agreedAt: NOW, lastHandshake: NOW - 1 },
    rows: [['psk', 8, 'activate', 'agreed', /next handshake/]],
  },
  {
    title: 'nothing once a handshake has taken the preshared key',
    world: { pair: { active }, agreedAt: NOW, lastHandshake: NOW + 1 },
    rows: [],
  },
  {
    title: 'nothing for the agreement that the view came up with',
    world: { pair: { active }, agreedAt: active.since },
    rows: [],
  },
  {
    title: 'both, where both are under way',
    world: { pair: { active, change }, renewals: [{ peer: PEER, since: NOW }] },
    rows: [
      ['tunnel', 2, 'prepare', 'waiting', null],
      ['psk', 7, 'prepare', 'agreeing', null],
    ],
  },
];

describe('rotation report', () => {
  for (const { title, world, rows } of table)
    it(`shows what is under way and what it waits for: ${title}`, async () => {
      const shown = await rotationRows(sources(world));
      assert.equal(shown.length, rows.length);
      for (const [n, [kind, epoch, step, detail, waitsFor]] of rows.entries()) {
        const row = shown[n];
        assert.deepEqual(
          [row?.kind, row?.epoch, row?.step, row?.detail],
          [kind, epoch, step, detail],
        );
        assert.equal(row?.pair, world.pair?.aid ?? PEER);
        if (waitsFor === null) assert.equal(row?.waitsFor, null);
        else assert.match(row?.waitsFor ?? '', waitsFor);
      }
    });

  it('plans the preshared keys of those named, and own keys with everybody, named or not', () => {
    const [peer] = members;
    const planned = (kind: 'psk' | 'tunnel' | 'id' | 'all') =>
      rotationPlan(sources(), kind, peer === undefined ? [] : [peer]);
    assert.deepEqual(
      planned('psk').pairs.map(({ pair, when, leftBehind }) => [pair, when, leftBehind]),
      [[PEER, 'now', false]],
    );
    for (const kind of ['tunnel', 'id', 'all'] as const) {
      assert.deepEqual(
        planned(kind).pairs.map(({ pair, when, leftBehind }) => [pair, when, leftBehind]),
        [
          [PEER, 'now', false],
          [AWAY, 'when it is connected', true],
        ],
      );
      assert.deepEqual(
        planned(kind).steps.map(({ step }) => step),
        ['prepare', 'activate', 'retire'],
      );
    }
    assert.deepEqual(
      planned('all').pairs.map(({ clockSkewMs }) => clockSkewMs),
      [80_400, null],
    );
  });

  it('says by how much clocks differ when a preshared key waits for them, and nothing otherwise', () => {
    assert.equal(postponement(sources(), PEER), null);
    assert.match(postponement(sources({ isPostponed: true }), PEER) ?? '', /differs by 80 s/);
  });
});
