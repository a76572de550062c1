import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { isType } from '#agent/identity/records/record-intake';
import { digestSeal } from '#kel/event/seal';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import type { AnyRecord, RecordFields } from '#kel/record/record';
import { equalBytes } from '#src/bytes';
import { signXEdDsa } from '#src/crypto/xeddsa';
import { Secret } from '#src/secret';
import { wireguardPublicKey } from '#src/wireguard/static-key';
import { criticalRecord, newTypeRecord } from '../../../../support/kit/later-record.ts';
import {
  createParty,
  endFields,
  giveLog,
  openParty,
  type Party,
} from '../../../../support/kit/party.ts';

const all = () => true;
const refused = (code: string) => ({ kind: 'refused', code });

const wireguardKey = new Secret(new Uint8Array(32).fill(5));

function tunFields(party: Party, wg: number, epoch = 0): RecordFields['tun'] {
  const { sn, said } = party.identity.state.establishment;
  return {
    e: epoch,
    es: { s: sn, d: said },
    wg: new Uint8Array(32).fill(wg),
    kem: { 'ml-kem-1024': new Uint8Array(1_568) },
    nb: '2026-01-01T00:00:00.000000+00:00',
    na: '2027-01-01T00:00:00.000000+00:00',
  };
}

const node: RecordFields['nod'] = {
  o: '' as never,
  role: 'server',
  region: '',
  of: ['A'],
  rq: ['A'],
  ov: [],
};

async function two(name: string): Promise<readonly [Party, Party]> {
  const alice = await createParty(`${name} alice`);
  const bob = await createParty(`${name} bob`, alice.clock);
  await giveLog(alice, bob);
  return [alice, bob];
}

describe('record intake', () => {
  it('passes over what a later version has issued, and counts it apart from what is wrong', async () => {
    const [alice, bob] = await two('later');
    const { aid } = alice.identity;
    const codes: unknown[] = [];
    for (const { bytes } of [criticalRecord(aid), newTypeRecord(aid)]) {
      const message = encodeSignedRecord(bytes, [await alice.identity.signerGroup(bytes)]);
      const verdict = await bob.intake.take(message, all);
      assert.equal(verdict.kind, 'unknown');
      codes.push(verdict.kind === 'unknown' && verdict.code);
    }
    assert.deepEqual(codes, ['RECORD_UNKNOWN_EXTENSION', 'RECORD_UNKNOWN_TYPE']);
    assert.deepEqual([bob.intake.unknown, bob.intake.refused], [2, 0]);
    assert.deepEqual(bob.intake.passedOver, [criticalRecord(aid).said, newTypeRecord(aid).said]);
    // Nobody keeps a record away from here by a false one that claims its digest.
    const [wanted, other] = [criticalRecord(aid), newTypeRecord(aid)];
    const claimed = Buffer.from(other.bytes);
    claimed.write(wanted.said, claimed.indexOf(other.said), 'latin1');
    const signed = encodeSignedRecord(claimed, [await alice.identity.signerGroup(claimed)]);
    assert.deepEqual(await bob.intake.take(signed, all), {
      kind: 'refused',
      code: 'RECORD_WRONG_SAID',
    });
    assert.equal(bob.intake.passedOver.length, 2);
  });

  it('takes tunnel keys of version 2 with a proof of possession, and no others', async () => {
    const [alice, bob] = await two('possession');
    const fields = { ...tunFields(alice, 1), wg: wireguardPublicKey(wireguardKey) };
    const take = async (signer: Secret | undefined) => {
      const { said, message } = await alice.identity.record('tun', fields, {
        extensions: { x: {}, cr: [] },
        ...(signer === undefined
          ? {}
          : { prover: { wg: (text) => signXEdDsa(signer, text, alice.rng.bytes(64)) } }),
      });
      await alice.identity.anchor([digestSeal(said)]);
      await giveLog(alice, bob);
      return bob.intake.take(message, all);
    };
    const refused = { kind: 'refused', code: 'RECORD_NOT_POSSESSED' };
    assert.deepEqual(await take(undefined), refused);
    assert.deepEqual(await take(new Secret(new Uint8Array(32).fill(9))), refused);
    assert.equal((await take(wireguardKey)).kind, 'stored');
  });

  it('stores a record once, tells once, and keeps it', async () => {
    const [alice, bob] = await two('once');
    const told: AnyRecord[] = [];
    const off = bob.intake.subscribe((record) => told.push(record));
    const { said, message } = await alice.identity.record('end', endFields(alice));
    const verdict = await bob.intake.take(message, all);
    assert.equal(verdict.kind, 'stored');
    assert.ok(
      verdict.kind === 'stored' && isType(verdict.record, 'end') && !isType(verdict.record, 'tun'),
    );
    assert.deepEqual(await bob.intake.take(message, all), { kind: 'known' });
    assert.deepEqual(
      told.map(({ d }) => d),
      [said],
    );
    assert.equal(bob.intake.refused, 0);
    off();
    bob.clock.schedule(0, () => undefined);
    await bob.intake.take((await alice.identity.record('end', endFields(alice))).message, all);
    assert.equal(told.length, 1);
    assert.ok((await openParty(bob.disk)).records.get(said));
  });

  it('lets an older one that is replayed change nothing', async () => {
    const [alice, bob] = await two('replay');
    const messages: Uint8Array[] = [];
    for (let i = 0; i < 4; i++) {
      messages.push((await alice.identity.record('end', endFields(alice))).message);
      await alice.clock.advance(1_000);
    }
    for (const message of messages.toReversed()) await bob.intake.take(message, all);
    const latest = bob.records.latest('end', alice.identity.aid)?.message;
    assert.deepEqual(latest, messages.at(-1));
    for (const message of messages) await bob.intake.take(message, all);
    assert.deepEqual(bob.records.latest('end', alice.identity.aid)?.message, latest);
    assert.equal(bob.records.list('end', alice.identity.aid).length, 2);
    assert.equal(bob.intake.refused, 0);
  });

  it('refuses what is not sealed, for each type that must be', async () => {
    const [alice, bob] = await two('unsealed');
    const { aid } = alice.identity;
    const drafts = [
      await alice.identity.record('nod', { ...node, o: aid }),
      await alice.identity.record('tun', tunFields(alice, 1)),
      await alice.identity.record('chr', {
        m: '',
        p: '',
        n: 0,
        name: 'x',
        gov: [aid],
        mem: [],
        edge: { min: 'A' },
        ep: { len: 120, base: 0 },
      }),
      await alice.identity.record('rvk', {
        k: 'organisation',
        who: aid,
        from: '2026-01-01T00:00:00.000000+00:00',
        why: '',
      }),
      await alice.identity.record('log', {
        o: 'origin',
        vk: ['origin+00000000+AAAA'],
        cad: { n: 1, s: 1 },
        ret: 0,
      }),
    ];
    for (const { message } of drafts)
      assert.deepEqual(await bob.intake.take(message, all), refused('RECORD_NOT_SEALED'));
    assert.equal(bob.intake.refused, drafts.length);
    assert.deepEqual(bob.records.saids(), []);
    // Sealed later, the same bytes are good.
    await alice.identity.anchor(drafts.map(({ said }) => digestSeal(said)));
    await giveLog(alice, bob);
    for (const { message } of drafts)
      assert.equal((await bob.intake.take(message, all)).kind, 'stored');
  });

  it('refuses one that is sealed by another than its issuer', async () => {
    const [alice, bob] = await two('foreign seal');
    const { said, message } = await alice.identity.record('tun', tunFields(alice, 1));
    await bob.identity.anchor([digestSeal(said)]);
    assert.deepEqual(await bob.intake.take(message, all), refused('RECORD_NOT_SEALED'));
  });

  it('puts off what is dated ahead of the own clock', async () => {
    const [alice, bob] = await two('future');
    const fields = endFields(alice);
    const dated = async (ms: number) => {
      const ahead = { ...alice.disk, clock: { now: () => alice.clock.now() + ms } as never };
      return (await (await openParty(ahead)).identity.record('end', fields)).message;
    };
    assert.equal((await bob.intake.take(await dated(299_000), all)).kind, 'stored');
    const future = await dated(3_600_000);
    assert.deepEqual(await bob.intake.take(future, all), refused('RECORD_BAD_FIELD'));
    assert.deepEqual(
      await bob.intake.take(await dated(86_400_000_000), all),
      refused('RECORD_BAD_FIELD'),
    );
    assert.equal(bob.intake.refused, 2);
    await bob.clock.advance(3_600_000);
    assert.equal((await bob.intake.take(future, all)).kind, 'stored');
  });

  it('asks who may issue before it verifies, and stores nothing of others', async () => {
    const [alice, bob] = await two('issuer');
    const { message } = await alice.identity.record('end', endFields(alice));
    const asked: unknown[] = [];
    const verdict = await bob.intake.take(message, (type, issuer) => {
      asked.push([type, issuer]);
      return false;
    });
    assert.deepEqual(verdict, refused('RECORD_WRONG_SIGNER'));
    assert.deepEqual(asked, [['end', alice.identity.aid]]);
    assert.equal(bob.intake.refused, 1);
  });

  it('refuses a record in the name of another', async () => {
    const [alice, bob] = await two('name');
    await giveLog(bob, alice);
    const { bytes } = buildRecord('end', {
      aid: alice.identity.aid,
      salt: new Uint8Array(16),
      dt: '2026-01-01T00:00:00.000000+00:00',
      fields: endFields(alice),
    });
    const own = await bob.identity.signerGroup(bytes);
    const underOwnName = encodeSignedRecord(bytes, [own]);
    const underHerName = encodeSignedRecord(bytes, [
      { ...(await alice.identity.signerGroup(bytes)), signatures: own.signatures },
    ]);
    assert.deepEqual(await alice.intake.take(underOwnName, all), refused('RECORD_WRONG_SIGNER'));
    assert.deepEqual(
      await alice.intake.take(underHerName, all),
      refused('RECORD_THRESHOLD_NOT_MET'),
    );
  });

  it('refuses one under an establishment event that has not arrived', async () => {
    const [alice, bob] = await two('unknown');
    await alice.identity.rotate();
    const { message } = await alice.identity.record('end', endFields(alice));
    assert.deepEqual(await bob.intake.take(message, all), refused('RECORD_UNKNOWN_ESTABLISHMENT'));
    await giveLog(alice, bob);
    assert.equal((await bob.intake.take(message, all)).kind, 'stored');
  });

  it('keeps the records of both who name one WireGuard key, whoever came first: nobody takes a key by naming it', async () => {
    const [alice, bob] = await two('copied');
    const eve = await createParty('copied eve', alice.clock);
    const issue = async (party: Party, fields: RecordFields['tun']) => {
      const { said, message } = await party.identity.record('tun', fields);
      await party.identity.anchor([digestSeal(said)]);
      await giveLog(party, bob);
      return message;
    };
    for (const [n, order] of [
      [eve, alice],
      [alice, eve],
    ].entries())
      for (const party of order as Party[]) {
        const message = await issue(party, tunFields(party, 7 + n, n));
        assert.equal((await bob.intake.take(message, all)).kind, 'stored');
        const kept = (await openParty(bob.disk)).records.list('tun', party.identity.aid);
        assert.ok(kept.some((each) => equalBytes(each.message, message)));
      }
  });

  it('counts whatever cannot be read', async () => {
    const [alice, bob] = await two('noise');
    const { message } = await alice.identity.record('end', endFields(alice));
    const noise = [
      new Uint8Array(0),
      new Uint8Array(10_000),
      message.slice(0, -1),
      new Uint8Array([...message, 0]),
      message.slice(1),
      new Uint8Array([...message, ...message]),
      new Uint8Array(1 << 20),
    ];
    for (let at = 0; at < message.length; at += 7) {
      const changed = message.slice();
      changed[at] = (changed[at] ?? 0) ^ 1;
      noise.push(changed);
    }
    for (const bytes of noise) {
      const verdict = await bob.intake.take(bytes, all);
      assert.equal(verdict.kind, 'refused');
    }
    assert.equal(bob.intake.refused, noise.length);
    assert.deepEqual(bob.records.saids(), []);
  });

  it('takes nothing when the disk fails, and says so', async () => {
    const [alice, bob] = await two('disk');
    const { message } = await alice.identity.record('end', endFields(alice));
    let told = 0;
    bob.intake.subscribe(() => {
      told += 1;
    });
    bob.disk.db.failAt(1, 'lost');
    await assert.rejects(bob.intake.take(message, all), { code: 'STORE_WRITE_FAILED' });
    bob.disk.db.heal();
    assert.equal(told, 0);
    assert.equal((await bob.intake.take(message, all)).kind, 'stored');
    assert.equal(told, 1);
  });

  it('takes new records of one AID at a rate, of every type that nobody else bounds, and nobody spends the rate of another', async () => {
    const [alice, bob] = await two('rate');
    const carol = await createParty('rate carol', alice.clock);
    await giveLog(carol, bob);
    let taken = 0;
    const offer = async (party: Party) => {
      const { message } = await party.identity.record('end', endFields(party));
      return bob.intake.take(message, all);
    };
    for (; ; taken++) {
      const verdict = await offer(alice);
      if (verdict.kind === 'refused') {
        assert.deepEqual(verdict, refused('RECORD_TOO_MANY'));
        break;
      }
      assert.ok(taken < 1_000);
    }
    // More than a store has to give to a newcomer.
    assert.ok(taken > 16);
    assert.equal((await offer(carol)).kind, 'stored');
    // Signed by somebody else in the name of carol: it costs carol nothing.
    const { message } = await carol.identity.record('end', endFields(carol));
    const forged = Uint8Array.from(message);
    forged[forged.length - 5] = (forged[forged.length - 5] as number) === 65 ? 66 : 65;
    for (let n = 0; n < taken + 16; n++) await bob.intake.take(forged, all);
    assert.equal((await offer(carol)).kind, 'stored');
    await alice.clock.advance(60_000);
    assert.equal((await offer(alice)).kind, 'stored');
  });
});
