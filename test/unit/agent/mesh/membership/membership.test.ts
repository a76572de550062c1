import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import type { PeerAddress } from '#agent/network/network';
import type { Aid } from '#kel/identifiers';
import {
  codeOf,
  createParty,
  giveLog,
  openParty,
  type Party,
} from '../../../../support/kit/party.ts';

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
  await governor.governing.create(terms);
  return { governor, member: await joined(`${name} member`, governor) };
}

/** Who has taken the governor's invite, and is not admitted yet. */
async function joined(name: string, governor: Party): Promise<Party> {
  const party = await createParty(name, governor.clock);
  await party.governing.join({
    mesh: governor.membership.mesh as never,
    governor: governor.identity.aid,
    addresses: [address],
  });
  return party;
}

describe('membership', () => {
  it('begins outside of any mesh', async () => {
    const { membership, governing, identity } = await createParty('alone');
    assert.equal(membership.charter, undefined);
    assert.equal(membership.isIn, false);
    assert.deepEqual(membership.others(), []);
    assert.deepEqual([...membership.known()], [identity.aid]);
    assert.equal(membership.maySync(identity.aid), false);
    assert.throws(() => governing.invite([address]), { code: 'MESH_NONE' });
    assert.equal(await codeOf(governing.admit(identity.aid, 'x')), 'MESH_NONE');
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
    await governor.governing.admit(member.identity.aid, 'beta', { region: 'eu' });
    assert.equal(governor.membership.maySync(member.identity.aid), true);
    await give(governor, member);
    assert.equal(told, 1);
    assert.equal(member.membership.isIn, true);
    assert.deepEqual(
      member.membership.others().map(({ name }) => name),
      ['alpha'],
    );
    assert.equal(member.governing.find('beta').region, 'eu');
    assert.equal(member.governing.find(member.identity.aid).name, 'beta');
    assert.deepEqual(
      member.membership.charters.map(({ version }) => version),
      [0, 1],
    );
    await member.membership.refresh();
    assert.equal(told, 1, 'nothing changed');
  });

  it('is the same after a restart', async () => {
    const { governor, member } = await federation('restart');
    await governor.governing.admit(member.identity.aid, 'beta');
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
    const { membership, governing } = governor;
    await governing.admit(member.identity.aid, 'beta');
    assert.equal(await codeOf(governing.create(terms)), 'MESH_EXISTS');
    assert.equal(
      await codeOf(governing.admit(member.identity.aid, 'gamma')),
      'MESH_ALREADY_MEMBER',
    );
    assert.equal(await codeOf(governing.admit(stranger, 'beta')), 'MESH_NAME_TAKEN');
    for (const name of ['', 'Beta', '-a', 'a_b', 'x'.repeat(64)]) {
      assert.equal(await codeOf(governing.admit(stranger, name)), 'MESH_BAD_NAME');
    }
    assert.equal(await codeOf(governing.remove('alpha', '')), 'MESH_GOVERNOR_STAYS');
    assert.equal(await codeOf(governing.remove('delta', '')), 'MESH_NOT_A_MEMBER');
    await give(governor, member);
    assert.equal(await codeOf(member.governing.admit(stranger, 'delta')), 'MESH_NOT_GOVERNOR');
    const other = {
      mesh: `EA${'y'.repeat(42)}` as never,
      governor: stranger,
      addresses: [address],
    };
    assert.equal(await codeOf(member.governing.join(other)), 'MESH_EXISTS');
    assert.equal(membership.charters.length, 2, 'nothing of it made a version');
  });

  it('removes a member, who learns of it from the revocation alone', async () => {
    const { governor, member } = await federation('remove');
    await governor.governing.admit(member.identity.aid, 'beta');
    await give(governor, member);
    await governor.governing.remove('beta', 'lost key');
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
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.remove('beta', 'by mistake');
    assert.equal(
      await codeOf(governor.governing.admit(member.identity.aid, 'beta')),
      'MESH_REMOVED',
      'not by an ordinary admission',
    );
    await governor.governing.admit(member.identity.aid, 'beta', { again: true });
    assert.equal(governor.membership.revocationOf(member.identity.aid), undefined);
    await give(governor, member);
    assert.equal(member.membership.isIn, true);
    assert.equal(member.membership.ownRevocation, undefined);
  });

  it('renames a member, and keeps all else that is in force', async () => {
    const { governor, member } = await federation('rename');
    const { membership, governing } = governor;
    await governing.admit(member.identity.aid, 'beta', { region: 'eu' });
    const before = membership.charter;
    await governing.rename('beta', 'university-b');
    await give(governor, member);
    const after = member.membership.charter;
    assert.equal(member.governing.find(member.identity.aid).name, 'university-b');
    assert.equal(member.governing.find('university-b').region, 'eu');
    for (const field of ['governors', 'minimumLevel', 'epochs', 'name'] as const)
      assert.deepEqual(after?.[field], before?.[field], field);
    assert.equal(await codeOf(governing.rename('beta', 'x')), 'MESH_NOT_A_MEMBER');
    assert.equal(await codeOf(governing.rename('university-b', 'alpha')), 'MESH_NAME_TAKEN');
    assert.equal(await codeOf(governing.rename('university-b', 'A b')), 'MESH_BAD_NAME');
    assert.equal(await codeOf(member.governing.rename('alpha', 'x')), 'MESH_NOT_GOVERNOR');
  });

  it('moves to records of version 2 once, and every later charter is one', async () => {
    const { governor, member } = await federation('upgrade');
    const { membership, governing } = governor;
    await governing.admit(member.identity.aid, 'beta');
    assert.equal(membership.recordVersion, 1);
    await give(governor, member);
    assert.equal(await codeOf(member.governing.upgrade()), 'MESH_NOT_GOVERNOR');
    await governing.upgrade();
    assert.equal(membership.recordVersion, 2);
    assert.deepEqual(membership.charter?.critical, ['rv']);
    assert.equal(await codeOf(governing.upgrade()), 'MESH_UPGRADED');
    await governing.rename('beta', 'university-b');
    await governing.handOver('university-b');
    await give(governor, member);
    assert.equal(member.membership.recordVersion, 2);
    assert.deepEqual(member.membership.charter?.extensions, { rv: 2 });
    await member.governing.acceptGoverning();
    await give(member, governor);
    assert.equal(membership.governor, member.identity.aid);
    assert.equal(membership.recordVersion, 2);
  });

  it('shows a charter that would take the mesh back, and stays where it is', async () => {
    const { governor, member } = await federation('set back');
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.upgrade();
    const charter = governor.membership.charter;
    assert.ok(charter);
    const [said] = await governor.issuer.issueSealed([
      {
        type: 'chr',
        fields: {
          m: charter.mesh,
          p: charter.said,
          n: charter.version + 1,
          name: charter.name,
          gov: charter.governors,
          mem: [],
          edge: { min: 'A' },
          ep: { len: 3_600, base: 0 },
        },
      },
    ]);
    await give(governor, member);
    for (const { membership } of [governor, member]) {
      await membership.refresh();
      assert.equal(membership.charter?.said, charter.said);
      assert.equal(membership.standing.setBack?.d, said);
    }
    await governor.governing.rename('beta', 'university-b');
    assert.equal(governor.membership.standing.setBack, undefined);
  });

  it('hands the governing over when the successor has accepted, and not before', async () => {
    const { governor, member } = await federation('hand over');
    const third = await joined('hand over third', governor);
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.admit(third.identity.aid, 'gamma');
    await give(governor, member);
    assert.equal(await codeOf(member.governing.acceptGoverning()), 'MESH_NOT_OFFERED');
    assert.equal(await codeOf(governor.governing.handOver('alpha')), 'MESH_GOVERNOR_STAYS');
    await governor.governing.handOver('beta');
    assert.equal(await codeOf(governor.governing.handOver('gamma')), 'MESH_GOVERNOR_STAYS');
    assert.equal(await codeOf(governor.governing.remove('beta', '')), 'MESH_GOVERNOR_STAYS');
    await give(governor, member);
    await give(governor, third);
    for (const { membership } of [governor, member, third])
      assert.equal(membership.governor, governor.identity.aid, 'still');
    assert.equal(await codeOf(member.governing.remove('gamma', 'x')), 'MESH_NOT_GOVERNOR');
    assert.equal(await codeOf(third.governing.acceptGoverning()), 'MESH_NOT_OFFERED');
    // One that is put out between the two stays out.
    const fields = {
      k: 'organisation',
      who: third.identity.aid,
      from: '2026-01-01T00:00:00.000000+00:00',
      why: 'stolen',
    } as const;
    await governor.issuer.issueSealed([{ type: 'rvk', fields }]);
    await give(governor, member);
    await member.governing.acceptGoverning();
    await give(member, governor);
    for (const { membership } of [governor, member]) {
      assert.equal(membership.governor, member.identity.aid);
      assert.deepEqual(
        [...(membership.charter?.members.values() ?? [])].map((m) => m.name),
        ['alpha', 'beta'],
      );
    }
    assert.equal(await codeOf(governor.governing.rename('beta', 'x')), 'MESH_NOT_GOVERNOR');
    // The former governor puts nobody out any more; it may go, and be put out.
    await governor.issuer.issueSealed([
      { type: 'rvk', fields: { ...fields, who: member.identity.aid } },
    ]);
    await give(governor, member);
    assert.equal(member.membership.isIn, true);
    assert.equal(member.membership.revocationOf(member.identity.aid), undefined);
    await member.governing.remove('alpha', 'contract ended');
    await give(member, governor, ['rvk']);
    assert.equal(governor.membership.ownRevocation?.why, 'contract ended');
  });

  it('takes an offer of the governing back', async () => {
    const { governor, member } = await federation('withdraw');
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.handOver('beta');
    await governor.governing.handOver(undefined);
    await give(governor, member);
    assert.equal(await codeOf(member.governing.acceptGoverning()), 'MESH_NOT_OFFERED');
  });

  it('is left again: a wrong join costs no identity', async () => {
    const { governor, member } = await federation('leave');
    const other = await createParty('leave other governor', governor.clock);
    await other.governing.create(terms);
    assert.equal(await codeOf(other.governing.leave(false)), 'MESH_LEAVE_UNSURE', 'alone in it');
    await member.governing.leave(false);
    assert.equal(member.membership.mesh, undefined);
    assert.equal(member.membership.maySync(governor.identity.aid), false);
    assert.equal(await codeOf(member.governing.leave(true)), 'MESH_NONE');
    assert.equal((await openParty(member.disk)).membership.mesh, undefined);
    await member.governing.join({
      mesh: other.membership.mesh as never,
      governor: other.identity.aid,
      addresses: [address],
    });
    await other.governing.admit(member.identity.aid, 'beta');
    await give(other, member);
    assert.equal(member.membership.isIn, true);
    // As a member it has to say that it means it, and a governor hands over first.
    assert.equal(await codeOf(other.governing.leave(true)), 'MESH_GOVERNOR_STAYS');
    assert.equal(await codeOf(member.governing.leave(false)), 'MESH_LEAVE_UNSURE');
    await member.governing.leave(true);
    assert.equal(member.membership.isIn, false);
    assert.deepEqual(member.membership.others(), []);
  });

  it('believes no revocation but that of a governor', async () => {
    const { governor, member } = await federation('false');
    const third = await joined('false third', governor);
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.admit(third.identity.aid, 'gamma');
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
    await governor.governing.admit(member.identity.aid, 'beta');
    await governor.governing.admit(third.identity.aid, 'gamma');
    await give(governor, third);
    const { aid } = member.identity;
    assert.ok(third.membership.others().some((other) => other.aid === aid));
    let told = 0;
    third.membership.subscribe(() => {
      told += 1;
    });
    await governor.governing.remove('beta', 'stolen');
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
    await governor.governing.admit(aid, 'beta', { again: true });
    await give(governor, third);
    assert.equal(third.membership.maySync(aid), true);
  });

  it('is never seen without the revocation that it knows, while it looks again', async () => {
    const { governor, member } = await federation('atomic');
    await governor.governing.admit(member.identity.aid, 'beta');
    await give(governor, member);
    await governor.governing.remove('beta', '');
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
    await governor.governing.admit(member.identity.aid, 'beta');
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
        const failed = await codeOf(governor.governing.admit(member.identity.aid, 'beta'));
        governor.disk.db.heal();
        const again = await openParty(governor.disk);
        const isIn = again.membership.charter?.members.has(member.identity.aid) === true;
        assert.equal(again.membership.charters.length, isIn ? 2 : 1);
        if (!isIn) await again.governing.admit(member.identity.aid, 'beta');
        await again.governing.remove('beta', '');
        assert.equal(again.membership.charters.length, 3);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });
  }
});
