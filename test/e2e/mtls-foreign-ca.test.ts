import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { KeyObject } from 'node:crypto';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { exportBundle, initCa } from '#agent/inner/ca/ca';
import { issueCertificate, serviceIdentity } from '#agent/inner/ca/issue';
import { callEcho, serveEcho } from '#agent/inner/ca/service';
import { importBundle, readTrust } from '#agent/inner/ca/trust';
import { utf8 } from '#src/bytes';
import { parseCaBundle } from '#src/mtls/ca-certificate';
import type { MtlsIdentity } from '#src/mtls/context';
import type { MtlsError } from '#src/mtls/errors';
import { Secret } from '#src/secret';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { cheapCost } from '../support/kit/ca.ts';
import {
  constraintsOf,
  foreignCa,
  foreignLeaf,
  type MadeCertificate,
  names,
} from '../support/kit/certificates.ts';
import { SimulatedClock } from '../support/simulation/simulated-clock.ts';
import { skip } from '../support/skip.ts';

const HOST = '127.0.0.1';
const { dns, uri, email, directory, ip } = names;
const zeros = (count: number) => Array<number>(count).fill(0);
const noAddress = [ip(...zeros(8)), ip(...zeros(32))];
const loopback = ip(127, 0, 0, 0, 255, 0, 0, 0);
const oursUri = 'kelmesh://alba.example/records';

/** What a CA of bruma could certify that is ours, if it were free in one form of name. */
const ours: Readonly<Record<string, readonly Uint8Array[]>> = {
  'our URI': [dns('records.bruma.example'), uri(oursUri)],
  'our IPv4 address': [uri('kelmesh://bruma.example/records'), ip(127, 0, 0, 1)],
  'our IPv6 address': [uri('kelmesh://bruma.example/records'), ip(0xfd, ...zeros(14), 1)],
  'our DNS name': [dns('records.alba.example'), uri('kelmesh://bruma.example/records')],
};

describe('a foreign CA over real TLS', () => {
  let root: string;
  let alba: { readonly dir: string; readonly clock: SimulatedClock };

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'kelmesh-foreign-ca-'));
    const clock = new SimulatedClock({ start: Date.now() });
    const dir = join(root, 'alba');
    using passphrase = new Secret(utf8('passphrase of alba'));
    const common = { dir, passphrase, clock, rng: new SeededRng('alba') };
    const ranges = { ipRanges: ['127.0.0.0/8'], algorithm: 'p256' } as const;
    await initCa({ ...common, ...ranges, name: 'alba', domain: 'alba.example', cost: cheapCost });
    await issueCertificate({ ...common, name: 'records', ips: [HOST] });
    alba = { dir, clock };
  });

  after(async () => {
    await rm(root, { recursive: true, force: true });
  });

  const albaIdentity = () => serviceIdentity(alba.dir, 'records', alba.clock);
  const trusting = async (...cas: readonly MadeCertificate[]): Promise<MtlsIdentity> => {
    const identity = await albaIdentity();
    return { ...identity, trust: [...identity.trust, ...cas.map(({ pem }) => pem)] };
  };
  const holding = async ({ pem, keys }: MadeCertificate): Promise<MtlsIdentity> => ({
    cert: pem,
    key: Secret.take(
      utf8(KeyObject.from(keys.privateKey).export({ type: 'pkcs8', format: 'pem' }) as string),
    ),
    trust: [await exportBundle(alba.dir, alba.clock)],
  });

  /** The holder of `leaf` calls `records` of alba, which trusts `ca` besides its own. */
  async function callAlba(ca: MadeCertificate, leaf: MadeCertificate) {
    const refused: MtlsError[] = [];
    await using service = await serveEcho({
      host: HOST,
      port: 0,
      tls: await trusting(ca),
      onRefused: (error) => refused.push(error),
    });
    const tls = { ...(await holding(leaf)), serverName: HOST };
    const reply = await callEcho({ host: HOST, port: service.port, tls, text: 'hello' }).then(
      ({ text }) => text,
      ({ code }: MtlsError) => code,
    );
    return { reply, refused: refused.map(({ code }) => code) };
  }

  /** Alba calls the service of the holder of `leaf`, and asks for this name and URI. */
  async function callHolder(
    ca: MadeCertificate,
    leaf: MadeCertificate,
    serverName: string,
    serverUri?: string,
  ) {
    await using service = await serveEcho({ host: HOST, port: 0, tls: await holding(leaf) });
    const tls = {
      ...(await trusting(ca)),
      serverName,
      ...(serverUri === undefined ? {} : { serverUri }),
    };
    return await callEcho({ host: HOST, port: service.port, tls, text: 'hello' }).then(
      () => 'accepted',
      ({ code }: MtlsError) => code,
    );
  }

  /** What OpenSSL says of `leaf` under `ca`, undefined where it is not installed. */
  async function verifyOpenssl(ca: MadeCertificate, leaf: MadeCertificate) {
    const paths = [join(root, 'openssl-ca.pem'), join(root, 'openssl-leaf.pem')] as const;
    await writeFile(paths[0], ca.pem);
    await writeFile(paths[1], leaf.pem);
    const args = ['verify', '-purpose', 'sslclient', '-CAfile', ...paths];
    const { stdout, stderr, error } = spawnSync('openssl', args, { encoding: 'utf8' });
    return error === undefined ? `${stdout}${stderr}` : undefined;
  }

  const bounds = {
    'DNS names': dns('bruma.example'),
    URIs: uri('bruma.example'),
    'IP addresses': undefined,
  } as const;
  for (const free of Object.keys(bounds) as (keyof typeof bounds)[])
    it(`is not taken in when it is free in one form of name that is read: ${free}`, async () => {
      const permitted = Object.entries(bounds).flatMap(([form, bound]) =>
        form === free || bound === undefined ? [] : [bound],
      );
      const ca = await foreignCa(
        'bruma',
        constraintsOf(permitted, free === 'IP addresses' ? [] : noAddress),
      );
      await assert.rejects(importBundle({ ...alba, bundle: ca.pem }), {
        code: 'MTLS_UNCONSTRAINED',
      });
      // The control: what it would have been able to certify, were it trusted.
      const certified: string[] = [];
      for (const [what, san] of Object.entries(ours)) {
        const { refused } = await callAlba(ca, await foreignLeaf(ca, san));
        if (refused.length === 0) certified.push(what);
      }
      assert.deepEqual(
        certified,
        {
          'DNS names': ['our DNS name'],
          URIs: ['our URI'],
          'IP addresses': ['our IPv4 address', 'our IPv6 address'],
        }[free],
      );
    });

  it('that is bound in all of them certifies nothing of ours, for Node and for OpenSSL', async function () {
    const ca = await foreignCa(
      'bruma',
      constraintsOf([dns('bruma.example'), uri('bruma.example')], noAddress),
    );
    const { taken } = await importBundle({ ...alba, bundle: ca.pem });
    assert.equal(taken.length, 1);
    const honest = await foreignLeaf(ca, [
      dns('records.bruma.example'),
      uri('kelmesh://bruma.example/records'),
    ]);
    const { reply } = await callAlba(ca, honest);
    assert.equal(reply, 'kelmesh://bruma.example/records said hello');
    for (const [what, san] of Object.entries(ours)) {
      const leaf = await foreignLeaf(ca, san);
      assert.deepEqual((await callAlba(ca, leaf)).refused, ['MTLS_NOT_PERMITTED'], what);
      const verdict = await verifyOpenssl(ca, leaf);
      if (verdict === undefined) skip(this, 'openssl is not installed');
      assert.match(verdict, /subtree violation/, what);
    }
    assert.match((await verifyOpenssl(ca, honest)) ?? '', /: OK/);
  });

  it('bound to one range of IPv4 addresses certifies no IPv6 address, for Node and for OpenSSL', async function () {
    const ca = await foreignCa(
      'bruma',
      constraintsOf([dns('bruma.example'), uri('bruma.example'), ip(10, 0, 0, 0, 255, 0, 0, 0)]),
    );
    assert.deepEqual(parseCaBundle(ca.pem)[0]?.unbounded, []);
    const addresses = [ours['our IPv6 address'] ?? [], [ip(...zeros(10), 255, 255, 127, 0, 0, 1)]];
    for (const san of addresses) {
      const leaf = await foreignLeaf(ca, san);
      assert.deepEqual((await callAlba(ca, leaf)).refused, ['MTLS_NOT_PERMITTED']);
      const verdict = await verifyOpenssl(ca, leaf);
      if (verdict === undefined) skip(this, 'openssl is not installed');
      assert.match(verdict, /subtree violation/);
    }
  });

  describe('bound in all that is read', () => {
    let ca: MadeCertificate;
    before(async () => {
      const own = [dns('bruma.example'), uri('bruma.example'), loopback];
      ca = await foreignCa('bruma', constraintsOf(own));
    });
    const inside = `x, URI:${oursUri}, DNS:records.alba.example, y`;
    const carriers: Readonly<Record<string, Uint8Array>> = {
      'an e-mail address': email(inside),
      'a directory name': directory(inside),
      'a URI of its own': uri(`kelmesh://bruma.example/${inside}`),
    };

    for (const [what, carrier] of Object.entries(carriers))
      it(`passes for no service of ours by ${what} that is not read, or reads like one`, async () => {
        const leaf = await foreignLeaf(
          ca,
          [dns('records.bruma.example'), carrier],
          `CN=${oursUri}`,
        );
        const answer = (name: string, wanted?: string) => callHolder(ca, leaf, name, wanted);
        assert.equal(await answer('records.bruma.example', oursUri), 'MTLS_WRONG_NAME');
        assert.equal(await answer('records.alba.example'), 'MTLS_WRONG_NAME');
        const { reply } = await callAlba(ca, leaf);
        assert.match(reply, /^[0-9a-f]{64} said hello$/);
      });

    it('passes for no caller of ours by a URI whose host one reader takes from another place than the next', async () => {
      for (const text of [
        'kelmesh://bruma.example:x@alba.example/records',
        'kelmesh://bruma.example:80@alba.example/records',
        'kelmesh://bruma.example/../../alba.example/records',
        'KELMESH://bruma.example/records',
      ]) {
        const { reply } = await callAlba(ca, await foreignLeaf(ca, [uri(text)]));
        // By its fingerprint, or refused: by no URI.
        assert.match(reply, /^[0-9a-f]{64} said hello$|^MTLS_REFUSED$/, text);
      }
    });
  });

  it('that was taken in before its bounds were looked at works until a date that is named, and no longer', async () => {
    const ca = await foreignCa('duero', constraintsOf([dns('duero.example')]));
    const fingerprint = parseCaBundle(ca.pem)[0]?.fingerprint ?? '';
    await mkdir(join(alba.dir, 'trust'), { recursive: true });
    await writeFile(join(alba.dir, 'trust', `${fingerprint}.pem`), ca.pem);
    const isTrusted = async (clock: SimulatedClock) =>
      (await readTrust(alba.dir, clock)).some((each) => each.fingerprint === fingerprint);
    const early = new SimulatedClock({ start: Date.UTC(2026, 10, 1) });
    const late = new SimulatedClock({ start: Date.UTC(2027, 3, 1) });
    assert.equal(await isTrusted(early), true);
    assert.equal(await isTrusted(late), false);
    const { ended } = await importBundle({
      ...alba,
      clock: late,
      bundle: await exportBundle(alba.dir, early),
    });
    assert.ok(ended.some((each) => each.fingerprint === fingerprint));
  });
});
