import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { SealedCharter } from '#agent/mesh/membership/charter';
import { overlayAddress } from '#agent/mesh/membership/overlay-address';
import { type SealedRemoval, Standing, type StandingFacts } from '#agent/mesh/membership/standing';
import type { Suspension } from '#agent/mesh/membership/suspensions';
import type { PeerAddress } from '#agent/network/network';
import type { Aid, Said } from '#kel/identifiers';
import type { ChrRecord, RvkRecord, Verified } from '#kel/record/record';

const said = (name: string) => `E${name.padEnd(43, '_')}` as Said;
const aid = (name: string) => said(name) as string as Aid;
const MESH = said('v0');
const [GOV, SELF, BETA, NEXT, EVE] = ['gov', 'self', 'beta', 'next', 'eve'].map(aid) as [
  Aid,
  Aid,
  Aid,
  Aid,
  Aid,
];
const address = '/ip4/192.0.2.1/tcp/7400' as PeerAddress;
const invite = { mesh: MESH, governor: GOV, addresses: [address] };
const throughBeta = { ...invite, through: { aid: BETA, addresses: [address] } };

/** Version `n` of the charter, sealed by event `sn` of `by`; its members are the AIDs of those names. */
function charter(
  n: number,
  sn: number,
  members: readonly string[],
  { by = 'gov', governors = ['gov'] }: { by?: string; governors?: readonly string[] } = {},
): SealedCharter {
  const record = {
    v: '',
    t: 'chr',
    d: said(`v${n}`),
    u: '',
    i: aid(by),
    dt: '',
    m: n === 0 ? '' : MESH,
    p: n === 0 ? '' : said(`v${n - 1}`),
    n,
    name: 'mesh',
    gov: governors.map(aid),
    mem: members.map((name) => ({ i: aid(name), n: name, role: 'server', region: '' }) as const),
    edge: { min: 'A' },
    ep: { len: 3_600, base: 0 },
  } as const satisfies ChrRecord;
  return {
    record: record as unknown as Verified<ChrRecord>,
    sealedIn: { sn, said: said(`ev${sn}`) },
  };
}

/** `who` is out by the word of `by`, in its event `sn`. */
function revocation(who: string, sn: number, by = 'gov'): SealedRemoval {
  const record = { t: 'rvk', i: aid(by), k: 'organisation', who: aid(who), why: `${by}:${sn}` };
  return { record: record as unknown as Verified<RvkRecord>, sealedIn: { sn } };
}

const asNode = revocation('beta', 9, 'delegator').record;
const suspension = (who: Aid): Suspension => ({
  aid: who,
  sn: 3,
  saids: [said('a'), said('b')],
  since: 1,
});

function standing(facts: Partial<StandingFacts>): Standing {
  return new Standing({
    self: SELF,
    chosen: invite,
    charters: [],
    revocations: [],
    revokedNodes: new Map(),
    suspended: new Map(),
    ...facts,
  });
}

const founding = charter(0, 1, ['gov']);
const three = ['gov', 'self', 'beta'];
const full = [founding, charter(1, 2, three)];

/** What is asked of each AID. */
interface Answers {
  readonly isMember: boolean;
  readonly names: boolean;
  readonly maySync: boolean;
  /** Records of its own keys and addresses; charters. */
  readonly mayIssue: readonly ('tun' | 'chr' | 'tup')[];
  readonly hears: boolean;
  readonly isOther: boolean;
}

const NOTHING = {
  isMember: false,
  names: false,
  maySync: false,
  mayIssue: [],
  hears: false,
  isOther: false,
} as const;
const MEMBER = {
  isMember: true,
  names: true,
  maySync: true,
  mayIssue: ['tun'],
  hears: true,
  isOther: true,
} as const;
const GOVERNOR = { ...MEMBER, mayIssue: ['tun', 'chr'] } as const;

function answers(of: Standing, who: Aid): Answers {
  return {
    isMember: of.isMember(who),
    names: of.names(who),
    maySync: of.maySync(who),
    mayIssue: (['tun', 'chr', 'tup'] as const).filter((type) => of.mayIssue(type, who)),
    hears: of.hears(who),
    isOther: of.other(who) !== undefined,
  };
}

const table: readonly {
  readonly title: string;
  readonly facts: Partial<StandingFacts>;
  readonly who: Aid;
  readonly is: Answers;
}[] = [
  { title: 'nobody while no mesh is chosen', facts: { chosen: undefined }, who: GOV, is: NOTHING },
  {
    title: 'nobody by charters of a mesh that was left',
    facts: { chosen: undefined, charters: full },
    who: GOV,
    is: NOTHING,
  },
  {
    title: 'the governor of the invite before a charter is held',
    facts: {},
    who: GOV,
    is: { ...NOTHING, maySync: true, mayIssue: ['tun', 'chr'], hears: true },
  },
  {
    title: 'the member of the invite before a charter is held',
    facts: { chosen: throughBeta },
    who: BETA,
    is: { ...NOTHING, maySync: true, mayIssue: ['tun'], hears: true },
  },
  {
    title: 'the member of the invite once a charter is held that does not name it',
    facts: { chosen: throughBeta, charters: [founding] },
    who: BETA,
    is: NOTHING,
  },
  {
    title: 'the governor of the invite, suspended before a charter is held',
    facts: { suspended: new Map([[GOV, suspension(GOV)]]) },
    who: GOV,
    is: { ...NOTHING, hears: true },
  },
  { title: 'a stranger', facts: { charters: full }, who: EVE, is: NOTHING },
  { title: 'the governor', facts: { charters: full }, who: GOV, is: GOVERNOR },
  { title: 'a member', facts: { charters: full }, who: BETA, is: MEMBER },
  {
    title: 'the own AID, a member',
    facts: { charters: full },
    who: SELF,
    is: { ...MEMBER, isOther: false },
  },
  {
    title: 'a suspended member',
    facts: { charters: full, suspended: new Map([[BETA, suspension(BETA)]]) },
    who: BETA,
    is: { ...NOTHING, isMember: true, names: true, hears: true },
  },
  {
    title: 'the governor, suspended: its charters and revocations are taken no more',
    facts: { charters: full, suspended: new Map([[GOV, suspension(GOV)]]) },
    who: GOV,
    is: { ...NOTHING, isMember: true, names: true, hears: true },
  },
  {
    title: 'the own AID, forked: nobody suspends itself',
    facts: { charters: full, suspended: new Map([[SELF, suspension(SELF)]]) },
    who: SELF,
    is: { ...MEMBER, isOther: false },
  },
  {
    title: 'a member revoked since the charter in force, which still names it',
    facts: { charters: full, revocations: [revocation('beta', 3)] },
    who: BETA,
    is: { ...NOTHING, names: true },
  },
  {
    title: 'a member that a member revokes',
    facts: { charters: full, revocations: [revocation('beta', 3, 'self')] },
    who: BETA,
    is: MEMBER,
  },
  {
    title: 'a member that a stranger revokes',
    facts: { charters: full, revocations: [revocation('beta', 99, 'eve')] },
    who: BETA,
    is: MEMBER,
  },
  {
    title: 'the governor by its own revocation: who governs hands over first',
    facts: { charters: full, revocations: [revocation('gov', 3)] },
    who: GOV,
    is: GOVERNOR,
  },
  {
    title: 'a removed member: charter and revocation of one event',
    facts: {
      charters: [...full, charter(2, 3, ['gov', 'self'])],
      revocations: [revocation('beta', 3)],
    },
    who: BETA,
    is: NOTHING,
  },
  {
    title:
      'a member that charter and revocation of one event both name: the charter says who is in',
    facts: { charters: full, revocations: [revocation('beta', 2)] },
    who: BETA,
    is: MEMBER,
  },
  {
    title: 'a member by a revocation that no log that is held seals any more',
    facts: {
      charters: full,
      revocations: [{ ...revocation('beta', 3), sealedIn: undefined }],
    },
    who: BETA,
    is: MEMBER,
  },
  {
    title: 'a readmitted member: the charter is newer than its revocation',
    facts: {
      charters: [...full, charter(2, 3, ['gov', 'self']), charter(3, 4, three)],
      revocations: [revocation('beta', 3)],
    },
    who: BETA,
    is: MEMBER,
  },
  {
    title: 'a readmitted member, removed again since',
    facts: {
      charters: [...full, charter(2, 3, ['gov', 'self']), charter(3, 4, three)],
      revocations: [revocation('beta', 3), revocation('beta', 5)],
    },
    who: BETA,
    is: { ...NOTHING, names: true },
  },
  {
    title: 'a node that its delegator has revoked for ever, though the charter names it',
    facts: { charters: full, revokedNodes: new Map([[BETA, asNode]]) },
    who: BETA,
    is: { ...NOTHING, names: true },
  },
  {
    title: 'another member, when the own AID is out: no tunnel, but the charter is heard',
    facts: { charters: full, revocations: [revocation('self', 3)] },
    who: BETA,
    is: { ...MEMBER, isOther: false },
  },
  {
    title: 'the own AID, out',
    facts: { charters: full, revocations: [revocation('self', 3)] },
    who: SELF,
    is: { ...NOTHING, names: true },
  },
  {
    title: 'a successor that was named and has not accepted',
    facts: {
      charters: [founding, charter(1, 2, [...three, 'next'], { governors: ['gov', 'next'] })],
    },
    who: NEXT,
    is: GOVERNOR,
  },
  ...(['gov', 'next'] as const).map((name) => ({
    title: `after a hand-over, ${name === 'gov' ? 'the former governor' : 'the governor'}`,
    facts: { charters: handedOver() },
    who: aid(name),
    is: GOVERNOR,
  })),
  {
    title: 'after a hand-over, a member that the former governor revokes then',
    facts: { charters: handedOver(), revocations: [revocation('beta', 3)] },
    who: BETA,
    is: MEMBER,
  },
  {
    title:
      'after a hand-over, a member that the former governor had removed before its last charter',
    facts: { charters: handedOver(['gov', 'next', 'self']), revocations: [revocation('beta', 2)] },
    who: BETA,
    is: NOTHING,
  },
  {
    title: 'after a hand-over, a member that the new governor revokes',
    facts: { charters: handedOver(), revocations: [revocation('beta', 8, 'next')] },
    who: BETA,
    is: { ...NOTHING, names: true },
  },
  {
    title: 'after a hand-over, the former governor that the new one revokes',
    facts: { charters: handedOver(), revocations: [revocation('gov', 8, 'next')] },
    who: GOV,
    is: { ...NOTHING, names: true },
  },
];

/** `gov` has named `next`, which has accepted in its event 7. */
function handedOver(members: readonly string[] = [...three, 'next']): readonly SealedCharter[] {
  return [
    founding,
    charter(1, 2, members, { governors: ['gov', 'next'] }),
    charter(2, 7, members, { by: 'next', governors: ['next'] }),
  ];
}

describe('standing', () => {
  for (const { title, facts, who, is } of table)
    it(`gives everybody what is due and no more: ${title}`, () => {
      assert.deepEqual(answers(standing(facts), who), is);
    });

  it('says of this organisation itself whether it is in, and why not', () => {
    assert.equal(standing({}).isIn, false);
    assert.equal(standing({ charters: [founding] }).isIn, false);
    assert.equal(standing({ charters: full }).isIn, true);
    const out = standing({ charters: full, revocations: [revocation('self', 3)] });
    assert.equal(out.isIn, false);
    assert.equal(out.ownRevocation?.why, 'gov:3');
    assert.deepEqual(out.others, []);
    const node = standing({ charters: full, revokedNodes: new Map([[SELF, asNode]]) });
    assert.equal(node.isIn, false);
    assert.equal(node.ownRevocation, asNode);
  });

  it('tells the governor, the mesh and the doors before and with a charter', () => {
    const before = standing({ chosen: throughBeta });
    assert.deepEqual(
      [before.mesh, before.governor, before.door?.aid, before.inviteAddresses],
      [MESH, GOV, BETA, [address]],
    );
    const after = standing({ chosen: throughBeta, charters: handedOver() });
    assert.deepEqual([after.governor, after.door, after.charter?.version], [NEXT, undefined, 2]);
    const alone = standing({ chosen: undefined });
    assert.deepEqual([alone.mesh, alone.governor, alone.door], [undefined, undefined, undefined]);
  });

  it('keeps the logs of all that any version has named, and of no stranger', () => {
    const { known } = standing({ charters: [...full, charter(2, 3, ['gov'])] });
    assert.deepEqual([...known].sort(), [BETA, GOV, SELF].sort());
    assert.deepEqual([...standing({ chosen: undefined, charters: full }).known], [SELF]);
    assert.ok(standing({ chosen: throughBeta }).known.has(BETA));
  });

  it('finds a member by AID, by name and by overlay address alike', () => {
    const of = standing({ charters: full });
    for (const who of [BETA, 'beta']) assert.equal(of.member(who)?.aid, BETA);
    assert.equal(of.member('gamma'), undefined);
    const gone = standing({ charters: [...full, charter(2, 3, ['gov', 'self'])] });
    assert.equal(gone.member(BETA), undefined);
    assert.equal(gone.everMember(BETA)?.name, 'beta', 'as long as its log is kept');
    assert.equal(gone.everMember(EVE), undefined);
    assert.equal(of.otherAt(overlayAddress(MESH, BETA))?.aid, BETA);
    assert.equal(of.otherAt(overlayAddress(MESH, SELF)), undefined, 'no other');
    assert.equal(of.otherAt(overlayAddress(MESH, EVE)), undefined);
    const suspended = standing({
      charters: full,
      suspended: new Map([[BETA, suspension(BETA)]]),
    });
    assert.equal(suspended.member('beta')?.aid, BETA);
    assert.equal(suspended.otherAt(overlayAddress(MESH, BETA)), undefined);
  });

  it('means the first of two members to whom a charter gives one name, and an AID before a name', () => {
    const twice = charter(1, 2, three);
    const [gov, self, beta] = twice.record.mem;
    const named = (n: string) => ({ ...(beta as NonNullable<typeof beta>), n });
    const withMembers = (last: typeof beta): readonly SealedCharter[] => [
      founding,
      {
        ...twice,
        record: { ...twice.record, mem: [gov, self, last] } as unknown as SealedCharter['record'],
      },
    ];
    assert.equal(standing({ charters: withMembers(named('self')) }).member('self')?.aid, SELF);
    assert.equal(standing({ charters: withMembers(named(SELF)) }).member(SELF)?.aid, SELF);
  });

  it('has another version when a charter comes into force or somebody is put out, and when not, not', () => {
    const versions = [
      standing({}),
      standing({ charters: full }),
      standing({ charters: full, revocations: [revocation('beta', 3)] }),
      standing({ charters: full, revocations: [revocation('beta', 3), revocation('self', 3)] }),
      standing({ charters: [...full, charter(2, 3, ['gov'])] }),
    ].map(({ version }) => version);
    assert.equal(new Set(versions).size, versions.length);
    assert.equal(standing({ charters: full.toReversed() }).version, versions[1]);
  });
});
