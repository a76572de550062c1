/** Logs written by Kelmesh and read by KERIpy, and the reverse: equal sequence number, SAID and key state. */
import assert from 'node:assert/strict';
import { generateKeyPairSync, randomInt, sign } from 'node:crypto';
import { after, before, describe, it } from 'mocha';
import { buildInception } from '#kel/event/inception';
import { keyDigest } from '#kel/event/key-digest';
import { buildRotation } from '#kel/event/rotation';
import { encodeSignedEvent } from '#kel/event/signed-event';
import { encodeVerificationKey } from '#kel/event/verification-key';
import type { SerializationKind } from '#kel/key-state/key-state';
import { LogVerifier } from '#kel/verify/log-verifier';
import { reportOf } from '#kel/verify/report';
import { verifySignature } from '../../support/kit/key-log.ts';
import { Keripy, keripyMissing, keripyStates, NEWEST } from '../../support/machines/keripy.ts';
import { skip } from '../../support/skip.ts';
import { randomFederation } from './random-federation.ts';

/** Federations in each direction, and logs in each. */
const FEDERATIONS = 6;
const LOGS = 20;
/** JSON and CBOR mixed within a log, as an organisation may that changes its mind; MGPK is read, never chosen. */
const WRITTEN: readonly SerializationKind[] = ['JSON', 'CBOR'];
const READ: readonly SerializationKind[] = ['JSON', 'CBOR', 'MGPK'];

const NONE = { contradictions: 0, superseded: 0, other: 0, receipts: 0 };

describe('logs shared with KERIpy', function () {
  this.timeout(300_000);
  const seed = process.env['KELMESH_SEED'] ?? String(randomInt(2 ** 32));
  const happened = new Map<string, number>();
  let keripy: Keripy;

  before(async function () {
    const reason = await keripyMissing();
    if (reason !== undefined) {
      if (process.env['CI'] === 'true') throw new Error(reason);
      skip(this, reason);
    }
    keripy = new Keripy();
  });

  after(async () => {
    await keripy?.[Symbol.asyncDispose]();
  });

  describe(`${2 * FEDERATIONS * LOGS} random logs, KELMESH_SEED=${seed}`, () => {
    for (let part = 0; part < FEDERATIONS; part++) {
      it(`KERIpy accepts ours, part ${part}`, async () => {
        const { streams, states, events } = randomFederation(`${seed}/${part}`, WRITTEN, LOGS);
        for (const [name, count] of events) happened.set(name, (happened.get(name) ?? 0) + count);
        const report = reportOf({ aids: states, refused: [], waiting: [], dropped: NONE }).aids;
        assert.deepEqual(sorted(await keripy.read(streams)), sorted(report));
      });

      it(`we accept KERIpy's, part ${part}`, async () => {
        const kind = READ[part % READ.length] as SerializationKind;
        const logs = await keripy.write({ seed: `${seed}/${part}`, logs: LOGS, kind });
        for (const form of ['stream', 'replay'] as const) {
          const verifier = new LogVerifier(verifySignature);
          for (const log of logs) verifier.feed(log[form]);
          const { aids, refused, waiting } = reportOf(verifier.finish());
          assert.deepEqual([refused, waiting], [[], []]);
          assert.deepEqual(sorted(aids), sorted(logs.map((log) => log.state)));
        }
      });
    }

    it('everything that a log can do has happened in them', () => {
      const all =
        'icp rot ixn dip drt partial augmented reordered reserve custodial weights clauses end recovery';
      const missing = [...all.split(' '), 'receipt apart', 'transferable receipt'].filter(
        (name) => !happened.has(name),
      );
      assert.deepEqual(missing, []);
    });
  });

  it('KERIpy accepts ours with P-256 keys', async () => {
    const [first, second, third] = [p256Key(), p256Key(), p256Key()];
    const icp = buildInception({
      keys: [first.key],
      nextDigests: [keyDigest(second.key)],
      kind: 'JSON',
    });
    const verifier = new LogVerifier(verifySignature);
    const signedIcp = encodeSignedEvent(icp.bytes, [first.sign(icp.bytes)]);
    verifier.feed(signedIcp);
    const prior = verifier.state(icp.aid);
    assert.ok(prior);
    const rot = buildRotation({ prior, keys: [second.key], nextDigests: [keyDigest(third.key)] });
    const signedRot = encodeSignedEvent(rot.bytes, [second.sign(rot.bytes)]);
    verifier.feed(signedRot);
    const { aids } = reportOf(verifier.finish());
    assert.equal(aids[0]?.sn, 1);
    assert.deepEqual(await keripy.read([signedIcp, signedRot]), aids);
  });

  it('reports the states of the logs of several AIDs', async () => {
    const { streams, states } = randomFederation('7', ['CBOR'], 2);
    const read = await keripyStates(streams);
    assert.deepEqual(
      read.map(({ aid, sn, said }) => ({ aid, sn, said })),
      states.map(({ aid, sn, said }) => ({ aid, sn, said })),
    );
  });
});

describe(`logs shared with the newest KERIpy`, function () {
  this.timeout(300_000);
  const seed = process.env['KELMESH_SEED'] ?? String(randomInt(2 ** 32));

  it(`accepts ${LOGS} of ours, and we ${LOGS} of its own, KELMESH_SEED=${seed}`, async function () {
    const reason = await keripyMissing(NEWEST);
    if (reason !== undefined) skip(this, reason);
    await using keripy = new Keripy(NEWEST);
    const options = { recoveryChangesWitnesses: false, receiptsApart: false };
    const { streams, states } = randomFederation(`${seed}/newest`, WRITTEN, LOGS, options);
    const report = reportOf({ aids: states, refused: [], waiting: [], dropped: NONE }).aids;
    assert.deepEqual(sorted(await keripy.read(streams)), sorted(report));
    const logs = await keripy.write({
      seed: `${seed}/newest`,
      logs: LOGS,
      kind: 'JSON',
      recovers: false,
    });
    const verifier = new LogVerifier(verifySignature);
    for (const log of logs) verifier.feed(log.stream);
    const { aids, refused, waiting } = reportOf(verifier.finish());
    assert.deepEqual([refused, waiting], [[], []]);
    assert.deepEqual(sorted(aids), sorted(logs.map((log) => log.state)));
  });
});

function sorted<T extends { readonly aid: string }>(states: readonly T[]): T[] {
  return [...states].sort((a, b) => a.aid.localeCompare(b.aid));
}

function p256Key() {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const isOdd = ((Buffer.from(y, 'base64url').at(-1) ?? 0) & 1) === 1;
  const point = Buffer.concat([Buffer.of(isOdd ? 3 : 2), Buffer.from(x, 'base64url')]);
  return {
    key: encodeVerificationKey('p256', point),
    sign: (bytes: Uint8Array) => ({
      index: 0,
      algorithm: 'p256' as const,
      raw: sign('sha256', bytes, { key: privateKey, dsaEncoding: 'ieee-p1363' }),
    }),
  };
}
