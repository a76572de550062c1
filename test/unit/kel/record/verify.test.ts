import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { blake3Digest } from '#kel/cesr/digest';
import { digestSeal } from '#kel/event/seal';
import { buildRecord, encodeSignedRecord } from '#kel/record/build';
import { parseRecord } from '#kel/record/parse';
import type { RecordType, TunnelProofFields } from '#kel/record/record';
import { isSealed, verifyRecord } from '#kel/record/verify';
import { Organisation, sign, testKey } from '../../../support/kit/key-log.ts';
import { criticalRecord, newTypeRecord } from '../../../support/kit/later-record.ts';
import { dt, lowAid, salt, samples } from '../../../support/kit/record-samples.ts';
import { recordOf, verification, verified } from '../../../support/kit/signed-record.ts';
import { openStore } from '../../../support/kit/store-kit.ts';

function organisation(name: string, keyCount = 1, signingThreshold = '1'): Organisation {
  const org = new Organisation(name);
  org.incept({ keyCount, signingThreshold });
  return org;
}

/** Two organisations, the one with the lower AID first. */
function pair(): readonly [Organisation, Organisation] {
  const [a, b] = [organisation('a'), organisation('b')];
  return a.aid < b.aid ? [a, b] : [b, a];
}

function proofFields(a: Organisation, b: Organisation): TunnelProofFields {
  const end = (org: Organisation, sample: TunnelProofFields['a']) => {
    const { sn, said } = org.state.establishment;
    return { ...sample, i: org.aid, s: sn, d: said };
  };
  return { ...samples.tup, a: end(a, samples.tup.a), b: end(b, samples.tup.b) };
}

describe('record verification', () => {
  for (const type of Object.keys(samples) as RecordType[]) {
    if (type === 'tup') continue;
    it(`${type}: accepts the signature of its issuer`, async () => {
      const org = organisation('one');
      const record = await verified(recordOf(type, org), org);
      assert.deepEqual([record.t, record.i], [type, org.aid]);
    });
  }

  it('refuses the signature of anyone but the issuer', async () => {
    const [one, two] = [organisation('one'), organisation('two')];
    const message = recordOf('end', two, { aid: one.aid });
    await assert.rejects(verified(message, one, two), { code: 'RECORD_WRONG_SIGNER' });
  });

  it('refuses keys that the establishment event does not name', async () => {
    const org = organisation('one');
    const message = recordOf('end', org, { signedBy: [testKey('mallory')] });
    await assert.rejects(verified(message, org), { code: 'RECORD_THRESHOLD_NOT_MET' });
  });

  it('refuses an establishment event that is not known, and an interaction in its place', async () => {
    const org = organisation('one');
    const message = recordOf('end', org);
    await assert.rejects(verified(message), { code: 'RECORD_UNKNOWN_ESTABLISHMENT' });
    const { sn, said } = org.anchor();
    const { bytes } = buildRecord('end', { aid: org.aid, salt, dt, fields: samples.end });
    const group = { aid: org.aid, sn, said, signatures: sign(bytes, org.keys(0)) };
    const other = encodeSignedRecord(bytes, [group]);
    await assert.rejects(verified(other, org), { code: 'RECORD_UNKNOWN_ESTABLISHMENT' });
  });

  it('accepts a record under past keys, because it says under which', async () => {
    const org = organisation('one');
    const message = recordOf('end', org);
    org.rotate();
    assert.equal((await verified(message, org)).i, org.aid);
  });

  it('counts a key once, whatever the number and form of its signatures', async () => {
    const org = organisation('one', 2, '2');
    const { bytes } = buildRecord('end', { aid: org.aid, salt, dt, fields: samples.end });
    const [first] = sign(bytes, org.keys(0, 2));
    assert.ok(first !== undefined);
    const signatures = [first, { ...first, currentOnly: true }, { ...first, ondex: 1 }];
    const group = { aid: org.aid, ...org.state.establishment, signatures };
    const message = encodeSignedRecord(bytes, [group]);
    await assert.rejects(verified(message, org), { code: 'RECORD_THRESHOLD_NOT_MET' });
  });

  it('accepts enough signatures beside one that is wrong', async () => {
    const org = organisation('one', 3, '2');
    const [a, b] = org.keys(0, 3) as [ReturnType<typeof testKey>, ReturnType<typeof testKey>];
    const message = recordOf('end', org, { signedBy: [a, b, testKey('mallory')] });
    assert.equal((await verified(message, org)).i, org.aid);
  });

  it('wants both ends of a tunnel proof, in order, under the events that it names', async () => {
    const [a, b] = pair();
    const { bytes } = buildRecord('tup', { aid: a.aid, salt, dt, fields: proofFields(a, b) });
    const group = (org: Organisation, signer = org) => ({
      aid: org.aid,
      ...org.state.establishment,
      signatures: sign(bytes, signer.keys(0)),
    });
    const check = (...groups: ReturnType<typeof group>[]) =>
      verified(encodeSignedRecord(bytes, groups), a, b);
    assert.equal((await check(group(a), group(b))).t, 'tup');
    const code = (code: string) => ({ code });
    await assert.rejects(check(group(b), group(a)), code('RECORD_WRONG_SIGNER'));
    await assert.rejects(check(group(a), group(a)), code('RECORD_WRONG_SIGNER'));
    await assert.rejects(check(group(a), group(b, a)), code('RECORD_THRESHOLD_NOT_MET'));
    await assert.rejects(check(group(a, b), group(b)), code('RECORD_THRESHOLD_NOT_MET'));
    assert.throws(() => parseRecord(encodeSignedRecord(bytes, [group(a)])), {
      code: 'RECORD_BAD_ATTACHMENT',
    });
  });

  it('refuses a tunnel proof signed under another establishment event than it names', async () => {
    const [a, b] = pair();
    const fields = proofFields(a, b);
    b.rotate();
    const { bytes } = buildRecord('tup', { aid: a.aid, salt, dt, fields });
    const groups = [a, b].map((org) => ({
      aid: org.aid,
      ...org.state.establishment,
      signatures: sign(bytes, org.keys(org.generation)),
    }));
    await assert.rejects(verified(encodeSignedRecord(bytes, groups), a, b), {
      code: 'RECORD_WRONG_SIGNER',
    });
  });

  it('works with a store of logs, and says whether the log has sealed the record', async () => {
    const { store } = await openStore();
    const org = organisation('one');
    const message = recordOf('tun', org);
    const parsed = parseRecord(message);
    await store.process(org.stream);
    const lookup = {
      ...verification(),
      establishment: store.establishment.bind(store),
    };
    const record = await verifyRecord(parsed, lookup);
    assert.equal(await isSealed(store, record), false);
    await store.process(org.anchor([digestSeal(record.d)]).message);
    assert.equal(await isSealed(store, record), true);
  });
});

describe('record messages', () => {
  it('have a bound, larger for charters', () => {
    const member = (at: number) => ({
      i: `E${at.toString().padStart(43, 'A')}` as never,
      n: `member-${at}`,
      role: 'server' as const,
      region: 'eu-north',
    });
    const mem = Array.from({ length: 4096 }, (_, at) => member(at));
    const fields = { ...samples.chr, mem };
    const org = organisation('one');
    const message = recordOf('chr', org, { fields });
    assert.ok(message.length > 300_000);
    assert.equal(parseRecord(message).record.t, 'chr');
    const long = mem.map((entry) => ({ ...entry, region: 'x'.repeat(64) }));
    assert.throws(() => recordOf('chr', org, { fields: { ...samples.chr, mem: long } }), {
      code: 'RECORD_TOO_LARGE',
    });
    assert.throws(() => parseRecord(new Uint8Array(512 * 1024 + 1)), { code: 'RECORD_TOO_LARGE' });
  });

  it('of an unknown type or protocol are refused by name', () => {
    const message = Buffer.from(recordOf('end', organisation('one')));
    const type = Buffer.from(message);
    type.write('xyz', message.indexOf('end'), 'latin1');
    assert.throws(() => parseRecord(type), { code: 'RECORD_WRONG_SAID' });
    for (const [{ bytes, said }, code] of [
      [newTypeRecord(lowAid), 'RECORD_UNKNOWN_TYPE'],
      [criticalRecord(lowAid), 'RECORD_UNKNOWN_EXTENSION'],
    ] as const)
      assert.throws(
        () => parseRecord(bytes),
        (error: { code?: string; fields?: { said?: string } }) =>
          error.code === code && error.fields?.said === said,
      );
    const protocol = Buffer.from(message);
    protocol.write('KERI', message.indexOf('KMSH'), 'latin1');
    assert.throws(() => parseRecord(protocol), { code: 'RECORD_MALFORMED' });
  });

  it('with a length in more bytes than it needs are refused, whatever SAID they claim', () => {
    const message = Buffer.from(recordOf('rvk', organisation('one')));
    const size = Number.parseInt(message.toString('latin1', 14, 20), 16);
    const at = message.indexOf('stolen') - 1;
    const body = Buffer.concat([
      message.subarray(0, at),
      Buffer.of(0x78, 6),
      message.subarray(at + 1, size),
    ]);
    body.write((size + 1).toString(16).padStart(6, '0'), 14, 'latin1');
    const said = body.indexOf('adx,E') + 4;
    body.fill('#', said, said + 44);
    body.write(blake3Digest(body), said, 'latin1');
    assert.throws(() => parseRecord(Buffer.concat([body, message.subarray(size)])), {
      code: 'RECORD_MALFORMED',
    });
  });

  it('with another value under the same SAID are refused', () => {
    const message = Buffer.from(recordOf('rvk', organisation('one')));
    message.write('x', message.indexOf('stolen'), 'latin1');
    assert.throws(() => parseRecord(message), { code: 'RECORD_WRONG_SAID' });
  });
});
