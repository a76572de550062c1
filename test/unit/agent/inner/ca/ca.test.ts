import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { type CaOptions, describeCa, exportBundle, initCa } from '#agent/inner/ca/ca';
import { type IssueOptions, issueCertificate, serviceIdentity } from '#agent/inner/ca/issue';
import { importBundle, readTrust, removeTrust } from '#agent/inner/ca/trust';
import { utf8 } from '#src/bytes';
import { atomicFileSteps } from '#src/files/atomic-file';
import { readNames } from '#src/mtls/names';
import { Secret } from '#src/secret';
import { SeededRng } from '../../../../support/doubles/seeded-rng.ts';
import { cheapCost } from '../../../../support/kit/ca.ts';
import { SimulatedClock } from '../../../../support/simulation/simulated-clock.ts';

const START = Date.UTC(2026, 5, 1);
const MINUTE = 60_000;
const DAY = 86_400_000;

describe('inner CA', () => {
  let root: string;
  const dir = (name = 'alba') => join(root, name);
  const passphrase = new Secret(utf8('correct horse'));
  const rng = new SeededRng('inner CA');
  const at = (ms: number) => new SimulatedClock({ start: ms });

  const init = (change: Partial<CaOptions> = {}) =>
    initCa({
      dir: dir(),
      name: 'Alba',
      domain: 'alba.example',
      passphrase,
      clock: at(START),
      rng,
      cost: cheapCost,
      ...change,
    });
  const issue = (change: Partial<IssueOptions> = {}) =>
    issueCertificate({ dir: dir(), passphrase, name: 'records', clock: at(START), rng, ...change });

  beforeEach(async () => {
    root = await mkdtemp(join(tmpdir(), 'kelmesh-ca-'));
  });

  afterEach(async () => {
    await rm(root, { recursive: true, force: true });
  });

  describe('being made', () => {
    it('describes itself without the passphrase', async () => {
      const made = await init({ ipRanges: ['10.1.0.0/16'] });
      assert.deepEqual(await describeCa(dir()), made);
      assert.equal(made.name, 'Alba');
      assert.deepEqual(made.domains, ['alba.example']);
      assert.deepEqual(made.ipRanges, ['10.1.0.0/16']);
      assert.equal(made.notBefore, START - 5 * MINUTE);
      assert.equal(await exportBundle(dir(), at(START)), made.pem);
      assert.equal(await readFile(join(dir(), 'ca.pem'), 'utf8'), made.pem);
    });

    it('takes a domain of its own from its name when none is given', async () => {
      const made = await initCa({
        dir: dir(),
        name: 'Hôpital Sainte-Anne (Lyon)',
        passphrase,
        clock: at(START),
        rng,
        cost: cheapCost,
      });
      assert.deepEqual(made.domains, ['hopital-sainte-anne-lyon.kelmesh.internal']);
    });

    it('is made once', async () => {
      const first = await init();
      await assert.rejects(init(), { code: 'CA_EXISTS' });
      assert.deepEqual(await describeCa(dir()), first);
    });

    it('keeps its files from others and its key from anyone without the passphrase', async () => {
      await init();
      assert.equal((await stat(dir())).mode & 0o777, 0o700);
      assert.equal((await stat(join(dir(), 'ca.sealed'))).mode & 0o777, 0o600);
      await assert.rejects(issue({ passphrase: new Secret(utf8('x')) }), {
        code: 'CA_WRONG_PASSPHRASE',
      });
    });

    const bad: Readonly<Record<string, Partial<CaOptions>>> = {
      'an empty name': { name: '' },
      'a name with a line break': { name: 'a\nb' },
      'a name that is too long': { name: 'x'.repeat(65) },
      'no days': { days: 0 },
      'days that are no number': { days: Number.NaN },
      'an IP range without prefix': { ipRanges: ['10.0.0.1'] },
      'an IP range that is too narrow': { ipRanges: ['10.0.0.1/33'] },
      'an empty passphrase': { passphrase: new Secret(new Uint8Array()) },
    };
    for (const [what, change] of Object.entries(bad)) {
      it(`refuses ${what}, and leaves nothing behind`, async () => {
        await assert.rejects(init(change), { code: 'CA_BAD_INPUT' });
        await assert.rejects(describeCa(dir()), { code: 'CA_NOT_FOUND' });
      });
    }

    for (const step of ['write', 'sync', 'rename', 'syncDirectory'] as const) {
      for (const moment of ['before', 'after'] as const) {
        it(`after a crash ${moment} ${step} it is there whole or not at all, and can be made or used`, async () => {
          const crash = new Error('crash');
          const steps = {
            ...atomicFileSteps,
            [step]: async (...args: [string, never]) => {
              if (moment === 'after') await atomicFileSteps[step](...args);
              throw crash;
            },
          };
          await assert.rejects(init({ steps }), { code: 'CA_IO' });
          const there = await describeCa(dir()).then(
            () => true,
            (error) => {
              assert.equal(error.code, 'CA_NOT_FOUND');
              return false;
            },
          );
          if (!there) await init();
          assert.equal((await issue()).name, 'records');
        });
      }
    }

    it('refuses to read a damaged file', async () => {
      await init();
      await writeFile(join(dir(), 'ca.sealed'), 'x'.repeat(200));
      await assert.rejects(describeCa(dir()), { code: 'CA_CORRUPT' });
    });
  });

  describe('issuing', () => {
    for (const algorithm of ['p384', 'p256', 'ed25519'] as const) {
      it(`gives key and chain that belong together (${algorithm})`, async () => {
        await init({ algorithm });
        const issued = await issue();
        const identity = await serviceIdentity(dir(), 'records', at(START));
        const leaf = new X509Certificate(identity.cert);
        assert.equal(
          leaf.checkPrivateKey(createPrivateKey(Buffer.from(identity.key.expose()))),
          true,
        );
        assert.equal(
          leaf.verify(new X509Certificate(await exportBundle(dir(), at(START))).publicKey),
          true,
        );
        assert.equal(leaf.serialNumber.toLowerCase(), issued.serial);
        assert.equal(
          leaf.subjectAltName,
          'DNS:records.alba.example, URI:kelmesh://alba.example/records',
        );
        assert.equal(identity.trust.length, 1);
        assert.equal((await stat(issued.keyFile ?? '')).mode & 0o777, 0o600);
      });
    }

    it('lasts a day unless asked, starts five minutes back, and never outlives the CA', async () => {
      await init({ days: 10 });
      const usual = await issue();
      assert.equal(usual.notBefore, START - 5 * MINUTE);
      assert.equal(usual.notAfter, START + DAY);
      assert.equal((await issue({ days: 30 })).notAfter, START + 10 * DAY);
      await assert.rejects(issue({ days: 31 }), { code: 'CA_BAD_INPUT' });
      await assert.rejects(issue({ clock: at(START + 10 * DAY) }), { code: 'CA_EXPIRED' });
    });

    it('gives every certificate a serial of its own', async () => {
      await init();
      const serials = new Set<string>();
      for (let i = 0; i < 8; i++) serials.add((await issue()).serial);
      assert.equal(serials.size, 8);
      for (const serial of serials) assert.match(serial, /^[4-7][0-9a-f]{31}$/);
    });

    it('switches to the new generation in one step and keeps the one before', async () => {
      await init();
      const first = await issue();
      const second = await issue();
      const third = await issue();
      const folder = join(dir(), 'issued', 'records');
      assert.deepEqual(
        (await readdir(folder)).sort(),
        [second.serial, third.serial, 'current'].sort(),
      );
      const { cert } = await serviceIdentity(dir(), 'records', at(START));
      assert.equal(new X509Certificate(cert).serialNumber.toLowerCase(), third.serial);
      assert.notEqual(first.serial, third.serial);
    });

    it('certifies short, full and further names, and addresses in its ranges', async () => {
      await init({ ipRanges: ['10.1.0.0/16', 'fd00::/8'] });
      const issued = await issue({
        name: 'db.alba.example',
        alternativeNames: ['database', 'db'],
        ips: ['10.1.2.3', 'fd00::1'],
      });
      assert.equal(issued.name, 'db');
      assert.deepEqual(issued.dnsNames, ['db.alba.example', 'database.alba.example']);
      assert.deepEqual(issued.ips, ['10.1.2.3', 'fd00::1']);
    });

    it('keeps at a renewal what is in force of each kind that is not given, and names what it drops', async () => {
      await init({ ipRanges: ['10.1.0.0/16'] });
      const first = await issue({ alternativeNames: ['db'], ips: ['10.1.2.3'], days: 20 });
      assert.deepEqual(first.dropped, []);
      const names = ['records.alba.example', 'db.alba.example'];
      const kinds = [
        [{}, names, ['10.1.2.3'], 20],
        [{ days: 5 }, names, ['10.1.2.3'], 5],
        [{ ips: ['10.1.9.9'] }, names, ['10.1.9.9'], 5],
        [{ alternativeNames: ['web'] }, [names[0], 'web.alba.example'], ['10.1.9.9'], 5],
        [{ isAnew: true }, [names[0]], [], 1],
      ] as const;
      const dropped = [[], [], ['10.1.2.3'], ['db.alba.example'], ['web.alba.example', '10.1.9.9']];
      for (const [n, [change, dnsNames, ips, days]] of kinds.entries()) {
        const again = await issue(change as Partial<IssueOptions>);
        assert.deepEqual([again.dnsNames, again.ips], [dnsNames, ips], JSON.stringify(change));
        assert.equal(again.notAfter, START + days * DAY);
        assert.deepEqual(again.dropped, dropped[n]);
      }
      await writeFile(join(dir(), 'issued/records/current/chain.pem'), 'nothing');
      await assert.rejects(issue(), { code: 'CA_CORRUPT' });
      assert.deepEqual((await issue({ isAnew: true })).dropped, []);
    });

    /** How an address within fd00:1::/48 or 10.1.0.0/16 can be written, and the bytes that it means. */
    const spellings: Readonly<Record<string, string>> = {
      'fd00:1::10.1.2.3': 'fd00:1::a01:203',
      'fd00:1:0:0:0:0:10.1.2.3': 'fd00:1::a01:203',
      'FD00:0001::1': 'fd00:1::1',
      'fd00:1:0:0:0:0:0:1': 'fd00:1::1',
      'fd00:1::': 'fd00:1::',
      'fd00:1:0:0:1::': 'fd00:1:0:0:1::',
      '10.1.2.3': '10.1.2.3',
    };
    for (const [text, canonical] of Object.entries(spellings))
      it(`checks, certifies and prints the same bytes, however an address is written: ${text}`, async () => {
        await init({ ipRanges: ['10.1.0.0/16', 'fd00:1::/48'] });
        const issued = await issue({ ips: [text] });
        assert.deepEqual(issued.ips, [canonical]);
        const chain = await readFile(issued.chainFile, 'utf8');
        const leaf = new X509Certificate(chain);
        assert.equal(leaf.checkIP(canonical), canonical);
        assert.equal(leaf.checkIP('fd00:1::10') === undefined, canonical !== 'fd00:1::10');
        assert.deepEqual(readNames(leaf.raw).ipAddresses, [canonical]);
      });

    for (const text of [
      'fe80::1%eth0',
      'fd00:1::1%1',
      '::ffff:10.1.2.3',
      '::ffff:a01:203',
      'fd00:1::10.1.2.256',
      'fd00:1::1.2.3',
      'fd00:1::1::2',
      'fd00:1::g',
      '10.1.2',
      '10.1.2.03',
      '0x0a010203',
      ' 10.1.2.3',
      '10.1.2.3/32',
    ])
      it(`refuses an address that two readers take for two, or that is none: ${text}`, async () => {
        await init({ ipRanges: ['10.1.0.0/16', 'fd00:1::/48'] });
        await assert.rejects(issue({ ips: [text] }), { code: 'CA_BAD_INPUT' });
      });

    it('has ranges of which every bit is meant', async () => {
      for (const range of [
        'fd00:1::10.0.0.0/96',
        'fd00:1::/48 ',
        '::ffff:10.0.0.0/104',
        '10.1.2.3/16',
        'fe80::%eth0/64',
        '0.0.0.0/0',
        '::/0',
        '0.0.0.0/7',
      ])
        await init({ dir: join(root, 'ranges'), ipRanges: [range] }).then(
          ({ ipRanges }) => assert.deepEqual(ipRanges, ['fd00:1::a00:0/96'], range),
          ({ code }) => assert.equal(code, 'CA_BAD_INPUT', range),
        );
    });

    it('refuses what is outside its bounds', async () => {
      await init();
      await assert.rejects(issue({ name: 'records.bruma.example' }), { code: 'CA_NOT_PERMITTED' });
      await assert.rejects(issue({ alternativeNames: ['xalba.example'] }), {
        code: 'CA_NOT_PERMITTED',
      });
      await assert.rejects(issue({ ips: ['10.1.2.3'] }), { code: 'CA_NOT_PERMITTED' });
      await assert.rejects(issue({ ips: ['nonsense'] }), { code: 'CA_BAD_INPUT' });
      await assert.rejects(issue({ name: '../../etc' }), { code: 'MTLS_BAD_NAME' });
      await assert.rejects(serviceIdentity(dir(), '../..', at(START)), {
        code: 'MTLS_BAD_NAME',
      });
      await assert.rejects(serviceIdentity(dir(), 'records', at(START)), {
        code: 'CA_NO_SUCH_CERTIFICATE',
      });
    });

    it('keeps no key for a certificate request', async () => {
      await init();
      const x509 = await import('@peculiar/x509');
      const { generateKeyPair } = await import('#src/mtls/key-algorithm');
      const keys = await generateKeyPair('p256');
      const request = await x509.Pkcs10CertificateRequestGenerator.create(
        { name: 'CN=somebody.else', keys, signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' } },
        globalThis.crypto,
      );
      const issued = await issue({ csr: request.toString('pem') });
      assert.equal(issued.keyFile, undefined);
      const leaf = new X509Certificate(await readFile(issued.chainFile));
      assert.equal(
        leaf.subjectAltName,
        'DNS:records.alba.example, URI:kelmesh://alba.example/records',
      );
      await assert.rejects(serviceIdentity(dir(), 'records', at(START)), {
        code: 'CA_NO_SUCH_CERTIFICATE',
      });
      await assert.rejects(issue({ csr: 'nonsense' }), { code: 'MTLS_BAD_CERTIFICATE' });
    });
  });

  describe('trusting others', () => {
    const trust = (bundle: string, ms = START) =>
      importBundle({ dir: dir(), bundle, clock: at(ms) });
    const other = async (name: string, domain: string) => {
      await init({ dir: dir(name), name, domain, days: 10 });
      return exportBundle(dir(name), at(START));
    };
    const names = async () => (await readTrust(dir(), at(START))).map(({ name }) => name).sort();

    beforeEach(async () => {
      await init();
    });

    it('takes in a bundle once, and drops by fingerprint', async () => {
      const bundle =
        (await other('Bruma', 'bruma.example')) + (await other('Corvo', 'corvo.example'));
      assert.equal((await trust(bundle)).taken.length, 2);
      assert.deepEqual(await trust(bundle), { taken: [], ended: [] });
      assert.deepEqual(await names(), ['Alba', 'Bruma', 'Corvo']);
      const { fingerprint } = await describeCa(dir('Bruma'));
      assert.equal(await removeTrust(dir(), fingerprint), true);
      assert.equal(await removeTrust(dir(), fingerprint), false);
      assert.deepEqual(await names(), ['Alba', 'Corvo']);
      await assert.rejects(removeTrust(dir(), '../lock'), { code: 'CA_BAD_INPUT' });
    });

    for (const domain of ['alba.example', 'sub.alba.example', 'example']) {
      it(`refuses a CA for ${domain} beside its own for alba.example, and changes nothing`, async () => {
        const bundle = (await other('Corvo', 'corvo.test')) + (await other('Bruma', domain));
        await assert.rejects(trust(bundle), { code: 'CA_OVERLAP' });
        assert.deepEqual(await names(), ['Alba']);
      });
    }

    it('refuses an expired CA', async () => {
      await assert.rejects(trust(await other('Bruma', 'bruma.example'), START + 10 * DAY), {
        code: 'CA_TRUST_EXPIRED',
      });
    });

    it('notices when a trusted certificate was exchanged on disk', async () => {
      await trust(await other('Bruma', 'bruma.example'));
      const { fingerprint } = await describeCa(dir('Bruma'));
      await writeFile(
        join(dir(), 'trust', `${fingerprint}.pem`),
        await other('Corvo', 'corvo.example'),
      );
      await assert.rejects(readTrust(dir(), at(START)), { code: 'CA_CORRUPT' });
    });
  });
});
