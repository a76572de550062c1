import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { PeerAddress } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';
import { codeOf, createParty, giveLog, openParty, type Party } from '../party.ts';

const address = '/ip4/192.0.2.1/tcp/7400' as PeerAddress;
const terms = { name: 'mesh', memberName: 'alpha', epochSeconds: 3_600 };

/** Log and all records of `from` go to `to`, as sync would bring them. */
async function give(
  from: Party,
  to: Party,
  types: readonly ('chr' | 'rvk')[] = ['chr', 'rvk'],
): Promise<void> {
  await giveLog(from, to);
  for (const type of types) {
    for (const { message } of from.records.list(type)) {
      await to.intake.take(message, (kind, issuer) => to.membership.mayIssue(kind, issuer));
    }
  }
  await to.membership.refresh();
}

async function federation(name: string): Promise<{ governor: Party; member: Party }> {
  const governor = await createParty(`${name} governor`);
  await governor.membership.create(terms);
  return { governor, member: await joined(`${name} member`, governor) };
}

/** Who has taken the governor's invite, and is not admitted yet. */
async function joined(name: string, governor: Party): Promise<Party> {
  const party = await createParty(name, governor.clock);
  await party.membership.join({
    mesh: governor.membership.mesh as never,
    governor: governor.identity.aid,
    addresses: [address],
  });
  return party;
}

describe('membership', () => {
  it('begins outside of any mesh', async () => {
    const { membership, identity } = await createParty('alone');
    assert.equal(membership.charter, undefined);
    assert.equal(membership.isIn, false);
    assert.deepEqual(membership.others(), []);
    assert.deepEqual([...membership.known()], [identity.aid]);
    assert.equal(membership.maySync(identity.aid), false);
    assert.throws(() => membership.invite([address]), { code: 'MESH_NONE' });
    assert.equal(await codeOf(membership.admit(identity.aid, 'x')), 'MESH_NONE');
  });

  it('admits a member, who learns of it from the log and the charter', async () => {
    const { governor, member } = await federation('admit');
    let told = 0;
    member.membership.subscribe(() => {
      told += 1;
    });
    assert.equal(member.membership.isIn, false);
    assert.equal(member.membership.maySync(governor.identity.aid), true);
    assert.equal(governor.membership.maySync(member.identity.aid), false);
    await governor.membership.admit(member.identity.aid, 'beta', 'eu');
    assert.equal(governor.membership.maySync(member.identity.aid), true);
    await give(governor, member);
    assert.equal(told, 1);
    assert.equal(member.membership.isIn, true);
    assert.deepEqual(
      member.membership.others().map(({ name }) => name),
      ['alpha'],
    );
    assert.equal(member.membership.find('beta').region, 'eu');
    assert.equal(member.membership.find(member.identity.aid).name, 'beta');
    assert.deepEqual(
      member.membership.charters.map(({ version }) => version),
      [0, 1],
    );
    await member.membership.refresh();
    assert.equal(told, 1, 'nothing changed');
  });

  it('is the same after a restart', async () => {
    const { governor, member } = await federation('restart');
    await governor.membership.admit(member.identity.aid, 'beta');
    await give(governor, member);
    for (const party of [governor, member]) {
      const again = await openParty(party.disk);
      assert.deepEqual(again.membership.charter, party.membership.charter);
      assert.equal(again.membership.isIn, true);
    }
    assert.deepEqual((await openParty(member.disk)).membership.inviteAddresses, [address]);
  });

  it('refuses what does not fit, each with its code', async () => {
    const { governor, member } = await federation('refusals');
    const stranger = `EA${'x'.repeat(42)}` as Aid;
    const { membership } = governor;
    await membership.admit(member.identity.aid, 'beta');
    assert.equal(await codeOf(membership.create(terms)), 'MESH_EXISTS');
    assert.equal(
      await codeOf(membership.admit(member.identity.aid, 'gamma')),
      'MESH_ALREADY_MEMBER',
    );
    assert.equal(await codeOf(membership.admit(stranger, 'beta')), 'MESH_NAME_TAKEN');
    for (const name of ['', 'Beta', '-a', 'a_b', 'x'.repeat(64)]) {
      assert.equal(await codeOf(membership.admit(stranger, name)), 'MESH_BAD_NAME');
    }
    assert.equal(await codeOf(membership.remove('alpha', '')), 'MESH_GOVERNOR_STAYS');
    assert.equal(await codeOf(membership.remove('delta', '')), 'MESH_NOT_A_MEMBER');
    await give(governor, member);
    assert.equal(await codeOf(member.membership.admit(stranger, 'delta')), 'MESH_NOT_GOVERNOR');
    const other = {
      mesh: `EA${'y'.repeat(42)}` as never,
      governor: stranger,
      addresses: [address],
    };
    assert.equal(await codeOf(member.membership.join(other)), 'MESH_EXISTS');
    assert.equal(membership.charters.length, 2, 'nothing of it made a version');
  });

  it('removes a member, who learns of it from the revocation alone', async () => {
    const { governor, member } = await federation('remove');
    await governor.membership.admit(member.identity.aid, 'beta');
    await give(governor, member);
    await governor.membership.remove('beta', 'lost key');
    assert.equal(governor.membership.maySync(member.identity.aid), false);
    assert.equal(governor.membership.revocationOf(member.identity.aid)?.why, 'lost key');
    await give(governor, member, ['rvk']);
    assert.equal(member.membership.isIn, false);
    assert.equal(member.membership.ownRevocation?.why, 'lost key');
    assert.deepEqual(member.membership.others(), []);
    assert.equal((await openParty(member.disk)).membership.isIn, false);
    assert.ok(governor.membership.known().has(member.identity.aid), 'its log is kept');
  });

  it('takes a removed member back', async () => {
    const { governor, member } = await federation('back');
    await governor.membership.admit(member.identity.aid, 'beta');
    await governor.membership.remove('beta', 'by mistake');
    await governor.membership.admit(member.identity.aid, 'beta');
    assert.equal(governor.membership.revocationOf(member.identity.aid), undefined);
    await give(governor, member);
    assert.equal(member.membership.isIn, true);
    assert.equal(member.membership.ownRevocation, undefined);
  });

  it('believes no revocation but that of a governor', async () => {
    const { governor, member } = await federation('false');
    const third = await joined('false third', governor);
    await governor.membership.admit(member.identity.aid, 'beta');
    await governor.membership.admit(third.identity.aid, 'gamma');
    await give(governor, member);
    await give(governor, third);
    const fields = {
      k: 'organisation',
      who: third.identity.aid,
      from: '2026-01-01T00:00:00.000000+00:00',
      why: 'spite',
    } as const;
    await member.issuer.issueSealed([{ type: 'rvk', fields }]);
    await give(member, third);
    assert.equal(third.records.list('rvk').length, 1);
    assert.equal(third.membership.isIn, true);
    assert.equal(third.membership.revocationOf(third.identity.aid), undefined);
  });

  it('has nothing to do with a revoked member before the charter without it has come', async () => {
    const { governor, member } = await federation('ahead');
    const third = await joined('ahead third', governor);
    await governor.membership.admit(member.identity.aid, 'beta');
    await governor.membership.admit(third.identity.aid, 'gamma');
    await give(governor, third);
    const { aid } = member.identity;
    assert.ok(third.membership.others().some((other) => other.aid === aid));
    let told = 0;
    third.membership.subscribe(() => {
      told += 1;
    });
    await governor.membership.remove('beta', 'stolen');
    await give(governor, third, ['rvk']);
    assert.ok(told > 0);
    assert.ok(third.membership.charter?.members.has(aid));
    assert.ok(!third.membership.others().some((other) => other.aid === aid));
    assert.equal(third.membership.maySync(aid), false);
    assert.equal(third.membership.mayIssue('tun', aid), false);
    assert.equal(third.membership.hears(aid), false);
    assert.equal(third.membership.revocationOf(aid)?.why, 'stolen');
    await give(governor, third);
    assert.equal(third.membership.maySync(aid), false);
    await governor.membership.admit(aid, 'beta');
    await give(governor, third);
    assert.equal(third.membership.maySync(aid), true);
  });

  it('is never seen without the revocation that it knows, while it looks again', async () => {
    const { governor, member } = await federation('atomic');
    await governor.membership.admit(member.identity.aid, 'beta');
    await give(governor, member);
    await governor.membership.remove('beta', '');
    await give(governor, member, ['rvk']);
    let isDone = false;
    const refreshes = Promise.all([1, 2, 3].map(() => member.membership.refresh())).then(() => {
      isDone = true;
    });
    while (!isDone) {
      assert.equal(member.membership.isIn, false);
      await Promise.resolve();
    }
    await refreshes;
  });

  it('tells who may issue what', async () => {
    const { governor, member } = await federation('issue');
    const { membership } = member;
    const eve = `EA${'e'.repeat(42)}` as Aid;
    assert.equal(membership.mayIssue('chr', governor.identity.aid), true);
    assert.equal(membership.mayIssue('chr', eve), false);
    assert.equal(membership.mayIssue('end', eve), false);
    await governor.membership.admit(member.identity.aid, 'beta');
    await give(governor, member);
    assert.equal(membership.mayIssue('chr', member.identity.aid), false);
    assert.equal(membership.mayIssue('tun', governor.identity.aid), true);
    assert.equal(membership.mayIssue('tup', governor.identity.aid), false);
    assert.equal(membership.mayIssue('tun', eve), false);
  });

  for (const kind of ['lost', 'persisted'] as const) {
    it(`changes whole or not at all when a write fails (${kind})`, async () => {
      for (let n = 1; ; n++) {
        const { governor, member } = await federation(`crash ${kind} ${n}`);
        governor.disk.db.failAt(n, kind);
        const failed = await codeOf(governor.membership.admit(member.identity.aid, 'beta'));
        governor.disk.db.heal();
        const again = await openParty(governor.disk);
        const isIn = again.membership.charter?.members.has(member.identity.aid) === true;
        assert.equal(again.membership.charters.length, isIn ? 2 : 1);
        if (!isIn) await again.membership.admit(member.identity.aid, 'beta');
        await again.membership.remove('beta', '');
        assert.equal(again.membership.charters.length, 3);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });
  }
});
