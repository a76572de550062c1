import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { describe, it } from 'mocha';
import { parseRecord } from '#kel/record/parse';
import type { TunRecord } from '#kel/record/record';
import { signXEdDsa } from '#src/crypto/xeddsa';
import { Secret } from '#src/secret';
import { wireguardPublicKey } from '#src/wireguard/static-key';
import { Organisation } from '../../../support/kit/key-log.ts';
import { sampleExtensions, samples } from '../../../support/kit/record-samples.ts';
import { recordOf, verified } from '../../../support/kit/signed-record.ts';

function organisation(name: string): Organisation {
  const org = new Organisation(name);
  org.incept();
  return org;
}

const keyOf = (fill: number) => new Secret(new Uint8Array(32).fill(fill));
const signer = (key: Secret) => (message: Uint8Array) => signXEdDsa(key, message, randomBytes(64));
const [key, staticKey, other] = [keyOf(1), keyOf(2), keyOf(3)];
const org = organisation('one');
const fields = { ...samples.tun, wg: wireguardPublicKey(key) };
const st = { ...(sampleExtensions.tun.st as NonNullable<typeof sampleExtensions.tun.st>) };
const extensions = { x: { st: { ...st, wg: wireguardPublicKey(staticKey) } }, cr: [] };

function tun(prover: { wg: Secret; st: Secret }): Uint8Array {
  return recordOf('tun', org, {
    fields,
    extensions,
    prover: { wg: signer(prover.wg), st: signer(prover.st) },
  });
}

describe('possession of a WireGuard key', () => {
  it('is proven in the record by the key itself, and by that of the static device', async () => {
    const record = (await verified(tun({ wg: key, st: staticKey }), org)) as TunRecord;
    assert.equal(record.x?.pop?.length, 64);
    assert.notDeepEqual(record.x?.st?.pop, record.x?.pop);
  });

  for (const [what, prover] of [
    ['another key', { wg: other, st: staticKey }],
    ['another key for the static device', { wg: key, st: other }],
    ['the two keys in each other’s place', { wg: staticKey, st: key }],
  ] as const)
    it(`is refused with a proof of ${what}`, async () => {
      await assert.rejects(verified(tun(prover), org), { code: 'RECORD_NOT_POSSESSED' });
    });

  it('is refused without a proof', async () => {
    const message = recordOf('tun', org, { fields, extensions: { x: {}, cr: [] } });
    await assert.rejects(verified(message, org), { code: 'RECORD_NOT_POSSESSED' });
  });

  it('is refused with the proof of another record that names the same key', async () => {
    const [mine] = [parseRecord(tun({ wg: key, st: staticKey })).record as TunRecord];
    const thief = organisation('two');
    const message = recordOf('tun', thief, { fields, extensions: { x: mine.x ?? {}, cr: [] } });
    await assert.rejects(verified(message, thief), { code: 'RECORD_NOT_POSSESSED' });
  });

  it('is not claimed by a record of version 1', async () => {
    const record = (await verified(recordOf('tun', org), org)) as TunRecord;
    assert.equal(record.x, undefined);
  });
});
