/** What an end says of a tunnel, and every field in which it does not believe the other end. */
import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { INDISPENSABLE } from '#agent/mesh/membership/policy/contribution';
import type { Offer } from '#agent/tunnel/proof/messages';
import { TunnelStatement, type TunnelStatementDeps } from '#agent/tunnel/proof/tunnel-statement';
import type { Aid, Said } from '#kel/identifiers';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { parseRecord } from '#kel/record/parse';
import type { TunnelEndFields, TunnelProofFields, TupRecord } from '#kel/record/record';
import { formatDateTime } from '#src/clock';
import {
  createParty,
  endFields,
  giveLog,
  type Party,
  verifySignature,
} from '../../../../support/kit/party.ts';

const HANDSHAKE = Date.parse('2026-03-01T10:00:00Z');
const said = (letter: string): Said => `E${letter.repeat(43)}` as Said;
const digest = (byte: number): Uint8Array => new Uint8Array(32).fill(byte);

/** What the fakes of one end tell; a test changes it. */
interface World {
  isMember: boolean;
  hasView: boolean;
  hasAgreed: boolean;
  agreedAt: number;
  lastHandshake: number;
  epoch: number;
  /** Tunnel keys whose record is of another establishment event than the one in force. */
  stale: Set<Said>;
}

interface End {
  readonly party: Party;
  readonly world: World;
  readonly statement: TunnelStatement;
  /** How often the devices were read. */
  reads(): number;
}

function endOf(party: Party, other: Aid, keys: { own: Said; peer: Said }): End {
  const world: World = {
    isMember: true,
    hasView: true,
    hasAgreed: true,
    agreedAt: HANDSHAKE - 1,
    lastHandshake: HANDSHAKE,
    epoch: 7,
    stale: new Set(),
  };
  const recordOf = (key: Said) => {
    const state = key === keys.own ? party.identity.state : party.kel.state(other);
    const { sn, said: d } = state?.establishment ?? { sn: 0, said: said('Z') };
    const es = world.stale.has(key) ? { s: sn + 1, d: said('Z') } : { s: sn, d };
    return { record: { t: 'tun', es } };
  };
  let reads = 0;
  const view = { ...keys, generation: 3 };
  const agreed = () =>
    world.hasAgreed ? { th: digest(2), at: world.agreedAt, sources: INDISPENSABLE } : undefined;
  const deps = {
    identity: party.identity,
    kel: party.kel,
    records: { get: recordOf },
    rng: party.rng,
    verifySignature,
    membership: {
      charter: { mesh: said('M'), said: said('C') },
      standing: {
        other: (aid: Aid) => (world.isMember && aid === other ? { aid } : undefined),
      },
    },
    keeper: { checkpoint: async () => ({ origin: 'log', size: 12, root: digest(1) }) },
    pairKeys: {
      agreed,
    },
    epochKeys: { epoch: () => world.epoch },
    tunnels: {
      activeView: () => (world.hasView ? view : undefined),
      status: async () => {
        reads += 1;
        const peer = { lastHandshake: world.lastHandshake };
        return [{ aid: other, view: world.hasView ? view : undefined, agreed: agreed(), peer }];
      },
    },
  } as unknown as TunnelStatementDeps;
  return { party, world, statement: new TunnelStatement(deps), reads: () => reads };
}

/** Two ends of one tunnel, the lower AID first, each with the log of the other. */
async function pair(name: string): Promise<readonly [End, End]> {
  const first = await createParty(`${name} first`);
  const second = await createParty(`${name} second`, first.clock);
  await giveLog(first, second);
  await giveLog(second, first);
  const [a, b] =
    first.identity.aid < second.identity.aid ? [first, second] : ([second, first] as const);
  return [
    endOf(a, b.identity.aid, { own: said('A'), peer: said('B') }),
    endOf(b, a.identity.aid, { own: said('B'), peer: said('A') }),
  ];
}

async function offers(a: End, b: End): Promise<readonly [Offer, Offer]> {
  return [
    await a.statement.offer(b.party.identity.aid),
    await b.statement.offer(a.party.identity.aid),
  ];
}

describe('own end of a tunnel statement', () => {
  it('is what log, device and audit log show', async () => {
    const [a, b] = await pair('own');
    const { kind, end, nonce } = await a.statement.offer(b.party.identity.aid);
    const { aid, state } = a.party.identity;
    assert.equal(kind, 'offer');
    assert.equal(nonce.length, 32);
    assert.deepEqual(end, {
      i: aid,
      s: state.establishment.sn,
      d: state.establishment.said,
      t: said('A'),
      hs: formatDateTime(HANDSHAKE),
      c: { o: 'log', n: 12, r: digest(1) },
    });
  });

  it('is neither given nor believed for a tunnel key of another establishment event than the one that signs', async () => {
    const [a, b] = await pair('stale key');
    const [own] = await offers(a, b);
    for (const [end, act] of [
      [a, () => a.statement.offer(b.party.identity.aid)],
      [b, async () => b.statement.checkEnd(own.end, a.party.identity.aid)],
    ] as const) {
      await act();
      end.world.stale.add(said('A'));
      await assert.rejects(act, { code: 'PROOF_MISMATCH', message: /does not derive/ });
    }
  });

  it('is not given before a handshake, nor without a tunnel', async () => {
    const [a, b] = await pair('early');
    const { aid } = b.party.identity;
    a.world.lastHandshake = 0;
    await assert.rejects(a.statement.offer(aid), { code: 'PROOF_MISMATCH' });
    a.world.lastHandshake = HANDSHAKE;
    a.world.agreedAt = HANDSHAKE;
    await assert.rejects(a.statement.offer(aid), {
      code: 'PROOF_MISMATCH',
      message: /under this agreement/,
    });
    a.world.agreedAt = HANDSHAKE - 1;
    await a.statement.offer(aid);
    a.world.hasView = false;
    await assert.rejects(a.statement.offer(aid), { code: 'PROOF_MISMATCH' });
    await assert.rejects(a.statement.offer(said('X') as string as Aid), { code: 'PROOF_MISMATCH' });
  });

  it('alone reads the devices', async () => {
    const [a, b] = await pair('reads');
    const [ours, theirs] = await offers(a, b);
    assert.equal(a.reads(), 1);
    const { aid } = b.party.identity;
    a.statement.checkEnd(theirs.end, aid);
    a.statement.fields(aid, ours, theirs);
    assert.equal(a.reads(), 1);
  });
});

describe('other end of a tunnel statement', () => {
  const wrong: readonly (readonly [string, Partial<TunnelEndFields>])[] = [
    ['another AID', { i: said('X') as string as Aid }],
    ['another establishment event', { s: 1 }],
    ['another SAID of it', { d: said('X') }],
    ['another tunnel key', { t: said('X') }],
  ];
  for (const [what, change] of wrong)
    it(`is refused with ${what}`, async () => {
      const [a, b] = await pair(what);
      const { aid } = b.party.identity;
      const [, { end }] = await offers(a, b);
      a.statement.checkEnd(end, aid);
      assert.throws(() => a.statement.checkEnd({ ...end, ...change }, aid), {
        code: 'PROOF_MISMATCH',
      });
    });

  it('is refused when its log is not held, is no member, or has no tunnel', async () => {
    const [a, b] = await pair('unknown');
    const { aid } = b.party.identity;
    const [, { end }] = await offers(a, b);
    const unknown = said('X') as string as Aid;
    const refused = { code: 'PROOF_MISMATCH' };
    assert.throws(() => a.statement.checkEnd({ ...end, i: unknown }, unknown), refused);
    a.world.hasView = false;
    assert.throws(() => a.statement.checkEnd(end, aid), refused);
    a.world.hasView = true;
    a.world.isMember = false;
    assert.throws(() => a.statement.checkEnd(end, aid), refused);
  });
});

describe('fields of a tunnel statement', () => {
  it('are one tunnel, as both ends see it', async () => {
    const [a, b] = await pair('fields');
    const [lower, higher] = await offers(a, b);
    const fields = a.statement.fields(b.party.identity.aid, lower, higher);
    assert.deepEqual(fields, b.statement.fields(a.party.identity.aid, lower, higher));
    assert.deepEqual(fields, {
      a: lower.end,
      b: higher.end,
      m: said('M'),
      ch: said('C'),
      ep: 7,
      th: digest(2),
      lv: 'A',
      g: 3,
      na: lower.nonce,
      nb: higher.nonce,
    });
  });

  it('are not there without a tunnel, an agreement or membership', async () => {
    for (const lack of ['hasView', 'hasAgreed', 'isMember'] as const) {
      const [a, b] = await pair(lack);
      const [lower, higher] = await offers(a, b);
      a.world[lack] = false;
      assert.throws(() => a.statement.fields(b.party.identity.aid, lower, higher), {
        code: 'PROOF_MISMATCH',
      });
    }
  });
});

describe('record of a tunnel statement', () => {
  /** The record that the lower end `a` would send to `b`. */
  async function proposed(name: string) {
    const [a, b] = await pair(name);
    const [lower, higher] = await offers(a, b);
    const fields = a.statement.fields(b.party.identity.aid, lower, higher);
    const check = (changed: Partial<TupRecord>) =>
      b.statement.checkRecord(
        { t: 'tup', ...fields, ...changed } as TupRecord,
        a.party.identity.aid,
        lower,
        higher,
      );
    return { fields, check };
  }

  it('is taken as both see it, and at the boundary of an epoch', async () => {
    const { check } = await proposed('record');
    check({});
    for (const ep of [6, 8]) check({ ep });
  });

  const wrong: readonly (readonly [
    string,
    (fields: TunnelProofFields) => Record<string, unknown>,
  ])[] = [
    ['type', () => ({ t: 'tun' })],
    ['mesh', () => ({ m: said('X') })],
    ['charter', () => ({ ch: said('X') })],
    ['epoch', () => ({ ep: 5 })],
    ['epoch', () => ({ ep: 9 })],
    ['agreement', () => ({ th: digest(9) })],
    ['level', () => ({ lv: 'B' })],
    ['nonce', () => ({ na: digest(9) })],
    ['own nonce', () => ({ nb: digest(9) })],
    ...(['a', 'b'] as const).flatMap((end) =>
      [
        { i: said('X') },
        { s: 9 },
        { d: said('X') },
        { t: said('X') },
        { hs: formatDateTime(0) },
        { c: { o: 'other', n: 12, r: digest(1) } },
        { c: { o: 'log', n: 13, r: digest(1) } },
        { c: { o: 'log', n: 12, r: digest(9) } },
      ].map(
        (change) =>
          [end, (fields: TunnelProofFields) => ({ [end]: { ...fields[end], ...change } })] as const,
      ),
    ),
  ];
  it('is refused with any field that this end knows otherwise, and the field is named', async () => {
    const { fields, check } = await proposed('wrong');
    for (const [named, change] of wrong)
      assert.throws(() => check(change(fields) as Partial<TupRecord>), {
        code: 'PROOF_MISMATCH',
        message: `the record does not say what both ends see: ${named}`,
      });
  });

  it('counts when both have signed it with keys that their logs name', async () => {
    const [a, b] = await pair('signed');
    const [lower, higher] = await offers(a, b);
    const { bytes, said: d } = buildRecord('tup', {
      aid: a.party.identity.aid,
      salt: a.party.rng.bytes(16),
      dt: formatDateTime(a.party.clock.now()),
      fields: a.statement.fields(b.party.identity.aid, lower, higher),
    });
    const [ofA, ofB] = await Promise.all(
      [a, b].map(({ party }) => party.identity.signerGroup(bytes)),
    );
    assert.ok(ofA && ofB);
    const message = encodeSignedRecord(bytes, [ofA, ofB]);
    assert.equal((await b.statement.verified(message)).d, d);
    const forged = { ...ofB, signatures: ofA.signatures };
    await assert.rejects(b.statement.verified(encodeSignedRecord(bytes, [ofA, forged])), {
      code: 'RECORD_THRESHOLD_NOT_MET',
    });
  });

  it('is a tunnel proof and nothing else that was signed', async () => {
    const [a, b] = await pair('kind');
    const { message } = await a.party.identity.record('end', endFields(a.party));
    assert.equal(parseRecord(message).record.t, 'end');
    await assert.rejects(b.statement.verified(message), { code: 'PROOF_BAD_MESSAGE' });
  });
});
