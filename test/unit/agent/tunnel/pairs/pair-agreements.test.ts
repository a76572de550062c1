import assert from 'node:assert/strict';
import { MemoryLevel } from 'memory-level';
import { describe, it } from 'mocha';
import { OPEN_MESH, termsOf } from '#agent/mesh/membership/policy/mesh-policy';
import type { MessageStream } from '#agent/network/network';
import { AgreementStore } from '#agent/tunnel/agreement/agreement-store';
import { Initiator } from '#agent/tunnel/agreement/machine';
import { runInitiator } from '#agent/tunnel/agreement/runner';
import { pairOf } from '#agent/tunnel/agreement/terms';
import type { Edge } from '#agent/tunnel/pairs/edges';
import { EpochKeys } from '#agent/tunnel/pairs/epoch-keys';
import { PairAgreements, type PairAgreementsDeps } from '#agent/tunnel/pairs/pair-agreements';
import type { TunnelView } from '#agent/tunnel/pairs/view';
import type { Said } from '#kel/identifiers';
import { Secret } from '#src/secret';
import { StateTable } from '#src/store/state-table';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import {
  a,
  aView,
  b,
  depsOf,
  joinedStreams,
  mesh,
  policy,
} from '../../../../support/kit/agreements.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

type Database = Parameters<typeof AgreementStore.open>[0];

const NEWEST: TunnelView = { own: b.local.tunnelRecord, peer: a.local.tunnelRecord };
const nextOf = (letter: string) => `E${letter}${'n'.repeat(42)}` as Said;

const END = { name: 'a', role: 'server', region: '' } as const;
const terms = termsOf(OPEN_MESH, [END, END]);
const OPEN: Edge = { kind: 'open', terms };

/** Agreements of `b`, which holds `tun` records of both ends and says which keys are the newest; as it is asked by `a`. */
async function askedFor(newest: TunnelView | undefined, edge: Edge = OPEN) {
  const rng = new SeededRng('agreements');
  const db = new MemoryLevel() as unknown as Database;
  const now = policy.baseEpoch * policy.epochSeconds * 1_000;
  const recordOf = (said: Said) => {
    const { establishment, mlKemPublicKey } = said.startsWith('Ea') ? a.peer : b.peer;
    const es = { s: establishment.sn, d: establishment.said };
    return { t: 'tun', d: said, es, kem: { 'ml-kem-1024': mlKemPublicKey } };
  };
  const records = [NEWEST.own, NEWEST.peer, nextOf('a'), nextOf('b')];
  const store = await AgreementStore.open(db, new Secret(rng.bytes(32)), rng);
  let serve: ((stream: MessageStream) => Promise<void>) | undefined;
  const [ours, theirs] = joinedStreams();
  const time = { now: () => now };
  const journal = { info: () => undefined, warn: () => undefined, failed: () => undefined };
  const epochKeys = new EpochKeys({
    self: b.local.aid,
    store,
    pairOf: () => pairOf(mesh, a.local, b.local),
    epochSeconds: () => policy.epochSeconds,
    clock: new SimulatedClock(),
    time,
    journal: journal as never,
    skewOf: () => 0,
    tellEpoch: () => undefined,
  });
  const agreements = await PairAgreements.open({
    identity: { aid: b.local.aid, state: b.local, sign: b.local.sign },
    membership: {
      mesh,
      charter: { epochs: { lengthSeconds: policy.epochSeconds } },
    },
    kel: { state: () => a.peer },
    records: {
      get: (said: Said) => (records.includes(said) ? { record: recordOf(said) } : undefined),
      list: () => [{ record: recordOf(NEWEST.peer) }],
      retain: async () => undefined,
    },
    ownKeys: {
      current: { record: recordOf(NEWEST.own) },
      load: async (said: Said) => ({ record: recordOf(said), mlKemSeed: b.local.mlKemSeed }),
    },
    views: { newest: () => newest },
    edges: { of: () => edge, suffices: () => true },
    isRevoked: () => false,
    store,
    network: {
      handle: (_: string, __: object, answer: typeof serve) => {
        serve = answer;
      },
    },
    directory: { aidOf: () => a.local.aid },
    clock: new SimulatedClock(),
    time,
    table: await StateTable.open(db, 'agreed'),
    journal,
    agreement: depsOf('b'),
    recorded: async () => undefined,
    epochKeys,
    skewOf: () => 0,
    stale: () => undefined,
  } as unknown as PairAgreementsDeps);
  agreements.start();
  using initiator = new Initiator(depsOf('a'), aView, policy);
  const served = serve?.(theirs);
  const outcome = await runInitiator(ours, initiator, new SimulatedClock());
  await served;
  const agreed = agreements.agreed(a.local.aid, NEWEST);
  return { outcome: outcome.kind === 'refused' ? outcome.refusal.code : 'agreed', agreed };
}

describe('agreements of all pairs', () => {
  const rows: readonly [string, TunnelView | undefined, string][] = [
    ['are the newest at this end too', NEWEST, 'agreed'],
    [
      'do not stand here: revoked, not valid now, of a former event',
      undefined,
      'AGREEMENT_UNKNOWN_PEER',
    ],
    ['came before newer ones of this end', { ...NEWEST, own: nextOf('b') }, 'AGREEMENT_STALE_VIEW'],
    [
      'came before newer ones of their own end',
      { ...NEWEST, peer: nextOf('a') },
      'AGREEMENT_STALE_VIEW',
    ],
  ];
  for (const [name, newest, expected] of rows)
    it(`as responder take the one answer to which keys are the newest: those asked for ${name}: ${expected}`, async () => {
      const { outcome, agreed } = await askedFor(newest);
      assert.equal(outcome, expected);
      assert.equal(agreed !== undefined, expected === 'agreed');
    });

  const closed: readonly [string, Edge][] = [
    ['is no member', { kind: 'none' }],
    ['has no tunnel by the policy', { kind: 'closed', terms: { ...terms, peer: false } }],
    ['cannot mix in what is required', { kind: 'lacking', lacking: ['hqc-256'] }],
  ];
  for (const [name, edge] of closed)
    it(`as responder agree with nobody who ${name}`, async () => {
      const { outcome, agreed } = await askedFor(NEWEST, edge);
      assert.deepEqual([outcome, agreed], ['AGREEMENT_UNKNOWN_PEER', undefined]);
    });
});
