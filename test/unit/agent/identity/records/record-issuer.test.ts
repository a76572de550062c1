import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { Draft } from '#agent/identity/records/record-issuer';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import { codeOf, createParty, openParty, type Party } from '../../../../support/kit/party.ts';

const drafts = (party: Party, why: string): readonly Draft[] => [
  { type: 'rvk', fields: { k: 'node', who: 'a', from: '2026-01-01T00:00:00.000000+00:00', why } },
  {
    type: 'nod',
    fields: { o: party.identity.aid, role: 'server', region: why, of: ['A'], rq: [], ov: [] },
  },
];

/** What is stored is sealed, and what is sealed is stored: none of the two alone. */
async function expectConsistent(party: Party): Promise<void> {
  for (const type of ['rvk', 'nod'] as const) {
    for (const { record } of party.records.list(type)) {
      assert.ok(await party.intake.sealedIn(party.identity.aid, record.d), `${type} is sealed`);
    }
  }
  const whys = party.records.list('rvk').map(({ record }) => record.why);
  const regions = party.records.list('nod').map(({ record }) => record.region);
  assert.deepEqual(whys.toSorted(), regions.toSorted(), 'both of one event');
}

describe('record issuer', () => {
  it('seals all drafts in one event, with what else is to be sealed, in order', async () => {
    const party = await createParty('issuer');
    const extra = `EA${'x'.repeat(42)}` as Said;
    const saids = await party.issuer.issueSealed(drafts(party, 'one'), [digestSeal(extra)]);
    assert.equal(party.identity.state.sn, 1);
    for (const said of [...saids, extra]) {
      assert.equal((await party.intake.sealedIn(party.identity.aid, said))?.sn, 1);
    }
    assert.deepEqual(
      saids.map((said) => party.records.get(said)?.record.t),
      ['rvk', 'nod'],
    );
  });

  it('stores what needs no seal without an event', async () => {
    const party = await createParty('unsealed');
    const { sn, said } = party.identity.state.establishment;
    const { said: record } = await party.issuer.issue({
      type: 'end',
      fields: {
        es: { s: sn, d: said },
        p: '12D3KooWGRUVhYDu3nEjcPz8mGZVZ9xHBi1vPWGPWnS4cW9VsHGF',
        la: [],
        ue: [],
      },
    });
    assert.equal(party.identity.state.sn, 0);
    assert.equal(party.records.latest('end', party.identity.aid)?.record.d, record);
    assert.equal(
      await codeOf(party.issuer.issue(drafts(party, 'x')[0] as Draft)),
      'IDENTITY_EVENT_REFUSED',
    );
  });

  it('does not lose one of two that are issued at once', async () => {
    const party = await createParty('parallel');
    await Promise.all([1, 2, 3].map((n) => party.issuer.issueSealed(drafts(party, `n${n}`))));
    assert.equal(party.records.list('rvk').length, 3);
    await expectConsistent(party);
  });

  it('has sealed and stored what it issued around a rotation', async () => {
    const party = await createParty('rotating');
    await Promise.all([
      party.issuer.issueSealed(drafts(party, 'a')),
      party.identity.rotate(),
      party.issuer.issueSealed(drafts(party, 'b')),
      party.identity.rotate(),
    ]);
    assert.equal(party.records.list('nod').length, 2);
    await expectConsistent(party);
  });

  for (const kind of ['lost', 'persisted'] as const) {
    it(`after a crash at any write (${kind}), the records are there with their seal or not at all`, async () => {
      const outcomes = new Set<number>();
      for (let n = 1; ; n++) {
        const party = await createParty(`crash ${kind} ${n}`);
        await party.issuer.issueSealed(drafts(party, 'before'));
        party.disk.db.failAt(n, kind);
        const failed = await codeOf(party.issuer.issueSealed(drafts(party, 'during')));
        party.disk.db.heal();
        const again = await openParty(party.disk);
        outcomes.add(again.records.list('rvk').length);
        await expectConsistent(again);
        // The next one is not in the way of the last.
        await again.issuer.issueSealed(drafts(again, 'after'));
        await expectConsistent(again);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
      assert.deepEqual([...outcomes].sort(), [1, 2]);
    });

    it(`after a failure at any write (${kind}), the same process loses nothing that the log sealed`, async () => {
      for (let n = 1; ; n++) {
        const party = await createParty(`again ${kind} ${n}`);
        party.disk.db.failAt(n, kind);
        const failed = await codeOf(party.issuer.issueSealed(drafts(party, 'during')));
        party.disk.db.heal();
        await party.issuer.issueSealed(drafts(party, 'after'));
        await expectConsistent(party);
        const inLog = party.identity.state.sn;
        assert.equal(party.records.list('rvk').length, inLog, 'a record for each event');
        await expectConsistent(await openParty(party.disk));
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });
  }
});
