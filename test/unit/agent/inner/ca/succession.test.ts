import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { describeCa, exportBundle } from '#agent/inner/ca/ca';
import { type ImportOptions, importBundle, readOthers } from '#agent/inner/ca/trust';
import { parseCaBundle } from '#src/mtls/ca-certificate';
import { createCaCertificate, createCrossCertificate } from '#src/mtls/certificate';
import { parseDnsName } from '#src/mtls/dns-name';
import { generateKeyPair } from '#src/mtls/key-algorithm';
import { CrashingSteps, caAt, DAY } from '../../../../support/kit/ca.ts';

const START = Date.UTC(2026, 5, 1);

describe('taking in the successor of a CA', () => {
  let root: string;
  /** Its CA rotates; `alba` trusts it. */
  let bruma: ReturnType<typeof caAt>;
  let alba: ReturnType<typeof caAt>;

  const bundle = (ca = bruma) => exportBundle(ca.dir, ca.clock);
  const fingerprint = async (ca = bruma) => (await describeCa(ca.dir)).fingerprint;
  const trust = (text: string, change: Partial<ImportOptions> = {}) =>
    importBundle({ dir: alba.dir, bundle: text, clock: bruma.clock, ...change });
  const trusted = async (dir = alba.dir) =>
    (await readOthers(dir)).map((ca) => ca.fingerprint).sort();
  const refused = async (code: string, text: string, change: Partial<ImportOptions> = {}) => {
    const before = await trusted();
    await assert.rejects(trust(text, change), { code });
    assert.deepEqual(await trusted(), before);
  };
  /** A CA for the domain of bruma that is another's: its key is not that of bruma. */
  const impostor = async (name = 'impostor') => {
    const ca = caAt(join(root, name), START);
    await ca.init('Bruma');
    return ca;
  };
  const blocks = (text: string) => text.split(/(?<=-----END CERTIFICATE-----\n)/);

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'kelmesh-ca-succession-'));
    alba = caAt(join(root, 'alba'), START);
    bruma = caAt(join(root, 'bruma'), START);
    await alba.init('Alba');
    await bruma.init('Bruma');
    await trust(await bundle());
  });

  afterEach(async () => {
    await rm(root, { recursive: true, force: true });
  });

  it('is done on proof, before or after it is active, once', async () => {
    const former = await fingerprint();
    await bruma.rotate({ step: 'prepare' });
    const change = await trust(await bundle());
    assert.equal(change.taken.length, 1);
    assert.equal(change.ended.length, 0);
    await bruma.rotate();
    assert.deepEqual(await trust(await bundle()), { taken: [], ended: [] });
    assert.deepEqual(await trusted(), [former, await fingerprint()].sort());
  });

  it('ends the trust in the former CA with the first bundle without it, for good', async () => {
    const old = await bundle();
    await bruma.rotate();
    const both = await bundle();
    await trust(both);
    await bruma.rotate({ step: 'retire' });
    const change = await trust(await bundle());
    assert.deepEqual(
      change.ended.map((ca) => ca.fingerprint),
      [parseCaBundle(old)[0]?.fingerprint],
    );
    assert.deepEqual(await trusted(), [await fingerprint()]);
    await refused('CA_OVERLAP', old);
    await refused('CA_OVERLAP', both);
  });

  it('does so too when the bundle comes without the cross certificate that was seen before', async () => {
    await bruma.rotate();
    await trust(await bundle());
    await bruma.rotate({ step: 'retire', immediately: true });
    assert.equal((await trust(await bundle())).ended.length, 1);
    assert.deepEqual(await trusted(), [await fingerprint()]);
  });

  it('follows two rotations in one, and none that it did not see the start of', async () => {
    await bruma.rotate();
    await bruma.rotate();
    await bruma.rotate();
    const third = await bundle();
    await trust(third);
    assert.equal((await trusted()).length, 2);
    await bruma.rotate();
    const change = await trust(await bundle());
    assert.equal(change.ended.length, 1);
    assert.deepEqual(await trusted(), [await fingerprint()]);
    const stranger = caAt(join(root, 'stranger'), START);
    await stranger.init('Stranger');
    await importBundle({ ...stranger, bundle: third });
    await bruma.rotate();
    await bruma.rotate();
    await bruma.rotate();
    await bruma.rotate();
    await assert.rejects(importBundle({ ...stranger, bundle: await bundle() }), {
      code: 'CA_OVERLAP',
    });
  });

  it('does not bring a successor that was prepared to an end with an older bundle', async () => {
    const old = await bundle();
    await bruma.rotate({ step: 'prepare' });
    await trust(await bundle());
    assert.deepEqual(await trust(old), { taken: [], ended: [] });
    assert.equal((await trusted()).length, 2);
  });

  it('is refused without the cross certificate, with that of another, and past its time', async () => {
    await bruma.rotate();
    const [former = '', successor = '', cross = ''] = blocks(await bundle());
    await refused('CA_OVERLAP', former + successor);
    await refused('CA_OVERLAP', successor);
    const thief = await impostor();
    await thief.rotate();
    const [, forged = '', forgedCross = ''] = blocks(await bundle(thief));
    await refused('CA_OVERLAP', await bundle(thief));
    await refused('CA_OVERLAP', forged + forgedCross);
    await refused('MTLS_BAD_CERTIFICATE', successor + forgedCross);
    await refused('MTLS_BAD_CERTIFICATE', forged + cross);
    await refused('MTLS_BAD_CERTIFICATE', cross);
    await bruma.clock.advance(730 * DAY - 1);
    assert.equal((await trust(successor + cross)).taken.length, 1);
  });

  it('is refused once the CA that speaks for it has expired', async () => {
    await bruma.clock.advance(700 * DAY);
    await bruma.rotate();
    const [, successor = '', cross = ''] = blocks(await bundle());
    await bruma.clock.advance(30 * DAY);
    // The former one goes, and so does its word: this is a first contact again.
    const { taken, ended } = await trust(successor + cross);
    assert.deepEqual([taken.length, ended.length], [1, 1]);
  });

  it('never concerns the own CA', async () => {
    const twin = caAt(join(root, 'twin'), START);
    await cp(alba.dir, twin.dir, { recursive: true });
    // As a thief of the own key would.
    await twin.rotate();
    const [, successor = '', cross = ''] = blocks(await bundle(twin));
    await refused('CA_OVERLAP', await bundle(twin));
    await refused('CA_OVERLAP', successor + cross);
    await refused('CA_OVERLAP', successor, { fingerprint: await fingerprint(twin) });
  });

  it('wants a person after an emergency: the fingerprint, and nothing else', async () => {
    await bruma.rotate({ step: 'prepare' });
    await trust(await bundle());
    await bruma.rotate({ step: 'replace' });
    const text = await bundle();
    const other = await fingerprint(await impostor());
    await refused('CA_OVERLAP', text);
    await refused('CA_WRONG_FINGERPRINT', text, { fingerprint: other });
    const { taken, ended } = await trust(text, { fingerprint: await fingerprint() });
    assert.deepEqual([taken.length, ended.length], [1, 2]);
    assert.deepEqual(await trusted(), [await fingerprint()]);
  });

  it('takes nobody in on the word of the newer CA for the older', async () => {
    await bruma.rotate({ step: 'replace' });
    const text = await bundle();
    // Anyone can sign the key of another: it is public.
    const keys = await generateKeyPair('p256');
    const validity = { serial: '4'.repeat(32), notBefore: START - DAY, notAfter: START + DAY };
    const evil = await createCaCertificate(
      { ...validity, name: 'Bruma', domain: parseDnsName('bruma.example'), ipPrefixes: [] },
      'p256',
      keys,
    );
    const cross = await createCrossCertificate(
      { certificate: evil, algorithm: 'p256', privateKey: keys.privateKey },
      new X509Certificate(text).publicKey.toCryptoKey(
        { name: 'ECDSA', namedCurve: 'P-256' },
        true,
        ['verify'],
      ),
      validity,
    );
    await refused('CA_WRONG_FINGERPRINT', evil + text + cross, {
      fingerprint: await fingerprint(),
    });
    await refused('CA_OVERLAP', evil + text + cross);
    await trust(text + cross, { fingerprint: await fingerprint() });
    await refused('CA_OVERLAP', evil);
    await refused('CA_OVERLAP', evil + text + cross);
  });

  it('after an undone successor takes the next by fingerprint, and keeps the CA that issues', async () => {
    const first = await fingerprint();
    await bruma.rotate({ step: 'prepare' });
    await trust(await bundle());
    await bruma.rotate({ step: 'undo' });
    await bruma.rotate();
    const text = await bundle();
    await refused('CA_OVERLAP', text);
    await trust(text, { fingerprint: await fingerprint() });
    assert.deepEqual(await trusted(), [first, await fingerprint()].sort());
  });

  it('lets go of a CA that has expired when any other is taken in', async () => {
    await bruma.clock.advance(730 * DAY);
    const corvo = caAt(join(root, 'corvo'), bruma.clock.now());
    await corvo.init('Corvo');
    const { taken, ended } = await trust(await bundle(corvo));
    assert.deepEqual([taken.length, ended.length], [1, 1]);
    assert.deepEqual(await trusted(), [await fingerprint(corvo)]);
  });

  for (const how of ['by proof', 'by fingerprint'] as const) {
    it(`killed at any write, ${how}, leaves only what may be trusted, and can be called again`, async () => {
      const former = await fingerprint();
      await bruma.rotate(how === 'by proof' ? {} : { step: 'replace' });
      if (how === 'by proof') await bruma.rotate();
      const now = await fingerprint();
      const change = how === 'by proof' ? {} : { fingerprint: now };
      const text = await bundle();
      for (let at = 0; at < 5; at++) {
        for (const moment of ['before', 'after'] as const) {
          const dir = join(root, `${at}-${moment}`);
          await cp(alba.dir, dir, { recursive: true });
          const steps = new CrashingSteps(at, moment);
          await assert.rejects(trust(text, { ...change, dir, steps }), { code: 'CA_IO' });
          const left = await trusted(dir);
          if (how === 'by fingerprint') assert.equal(left.includes(former), false);
          else assert.ok(left.includes(former) || left.includes(now));
          await trust(text, { ...change, dir });
          assert.deepEqual(await trusted(dir), [now]);
          assert.deepEqual(await readdir(join(dir, 'trust')), [`${now}.pem`]);
        }
      }
    });
  }
});
