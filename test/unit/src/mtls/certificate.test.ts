import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { before, describe, it } from 'mocha';
import { parseCaBundle } from '#src/mtls/ca-certificate';
import {
  createCaCertificate,
  createCrossCertificate,
  createLeafCertificate,
  createSuccessorCertificate,
  type Issuer,
  requestedKey,
} from '#src/mtls/certificate';
import { parseDnsName } from '#src/mtls/dns-name';
import { MtlsError } from '#src/mtls/errors';
import { type CertificateAlgorithm, generateKeyPair } from '#src/mtls/key-algorithm';
import { readNames } from '#src/mtls/names';
import { parseIpAddress } from '#src/net/ip-address';
import { type IpPrefix, parseIpPrefix } from '#src/net/ip-prefix';
import { skip } from '../../../support/skip.ts';

const HOUR = 3_600_000;
const domain = parseDnsName('alba.example');
const serial = (digit: string) => digit.repeat(32);

async function makeCa(
  algorithm: CertificateAlgorithm,
  ipRanges: readonly string[] = [],
): Promise<Issuer> {
  const keys = await generateKeyPair(algorithm);
  const now = Date.now();
  const certificate = await createCaCertificate(
    {
      name: 'Alba',
      domain,
      ipPrefixes: ipRanges.map((range) => parseIpPrefix(range) as IpPrefix),
      serial: serial('4'),
      notBefore: now - HOUR,
      notAfter: now + HOUR,
    },
    algorithm,
    keys,
  );
  return { certificate, algorithm, privateKey: keys.privateKey };
}

async function makeLeaf(
  issuer: Issuer,
  dnsName: string,
  ipAddresses: readonly string[] = [],
  host = 'alba.example',
) {
  const { publicKey } = await generateKeyPair('p256');
  const now = Date.now();
  return createLeafCertificate(
    {
      dnsNames: [parseDnsName(dnsName)],
      ipAddresses: ipAddresses.map((text) => parseIpAddress(text) as Uint8Array),
      uri: `kelmesh://${host}/records`,
      serial: serial('5'),
      notBefore: now - HOUR,
      notAfter: now + HOUR,
      publicKey,
    },
    issuer,
  );
}

describe('inner certificates', () => {
  let ca: Issuer;

  before(async () => {
    ca = await makeCa('p384');
  });

  it('reads a CA back as it was made, whatever surrounds it', () => {
    const [read, ...more] = parseCaBundle(
      `Alba, by courier\r\n${ca.certificate.replaceAll('\n', '\r\n')}`,
    );
    assert.equal(more.length, 0);
    assert.equal(read?.name, 'Alba');
    assert.deepEqual(read?.domains, ['alba.example']);
    assert.deepEqual(read?.ipRanges, []);
    assert.equal(read?.pem, ca.certificate);
    assert.match(read?.fingerprint ?? '', /^[0-9a-f]{64}$/);
  });

  it('keeps IP ranges of both families', async () => {
    const ranges = ['10.1.0.0/16', 'fd00:1::/48'];
    const [read] = parseCaBundle((await makeCa('ed25519', ranges)).certificate);
    assert.deepEqual(read?.ipRanges, ranges);
  });

  it('gives a leaf its names in the SAN alone', async () => {
    const leaf = new X509Certificate(await makeLeaf(ca, 'records.alba.example'));
    assert.deepEqual(readNames(leaf.raw), {
      dnsNames: ['records.alba.example'],
      ipAddresses: [],
      uris: ['kelmesh://alba.example/records'],
    });
    assert.equal(leaf.subject ?? '', '');
    assert.equal(leaf.ca, false);
    assert.deepEqual([...(leaf.keyUsage ?? [])].sort(), ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    assert.equal(leaf.checkIssued(new X509Certificate(ca.certificate)), true);
  });

  const bundles: Readonly<Record<string, () => string | Promise<string>>> = {
    nothing: () => '',
    'a leaf': () => makeLeaf(ca, 'records.alba.example'),
    'a private key beside the certificate': () =>
      `${ca.certificate}-----BEGIN PRIVATE KEY-----\nMC4=\n-----END PRIVATE KEY-----\n`,
    'a certificate that is cut': () => ca.certificate.replace(/\n.{64}\n/, '\n'),
    'a signature of another': () =>
      ca.certificate.replace(/.{4}(?=[A-Za-z0-9+/=]{0,8}\n-----END)/, 'AAAA'),
    'more certificates than a bundle holds': () => ca.certificate.repeat(17),
    'more text than a bundle holds': () => ca.certificate + ' '.repeat(200_000),
  };
  for (const [what, make] of Object.entries(bundles)) {
    it(`refuses as CA bundle: ${what}`, async () => {
      const bundle = await make();
      assert.throws(() => parseCaBundle(bundle), { code: 'MTLS_BAD_CERTIFICATE' });
    });
  }

  it('throws nothing but its own error, whatever byte of a bundle is changed', () => {
    fc.assert(
      fc.property(fc.nat(ca.certificate.length - 1), fc.string({ maxLength: 3 }), (at, text) => {
        const changed = ca.certificate.slice(0, at) + text + ca.certificate.slice(at + 1);
        try {
          for (const { pem } of parseCaBundle(changed)) assert.equal(pem, ca.certificate);
        } catch (error) {
          assert.ok(error instanceof MtlsError, String(error));
        }
      }),
      { numRuns: 300 },
    );
  });

  it('takes the key of a certificate request only when its signature holds', async function () {
    const directory = mkdtempSync(join(tmpdir(), 'kelmesh-csr-'));
    try {
      const request = openssl(directory, [
        'req',
        '-new',
        '-newkey',
        'ed25519',
        '-nodes',
        '-keyout',
        'k',
        '-subj',
        '/CN=x',
      ]);
      if (request === undefined) skip(this, 'openssl is not installed');
      assert.equal((await requestedKey(request)).algorithm.name, 'Ed25519');
      const forged = request.replace(/.{8}(?=\n-----END)/, (end) =>
        end === 'AAAAAAAA' ? 'BBBBBBBB' : 'AAAAAAAA',
      );
      await assert.rejects(requestedKey(forged), { code: 'MTLS_BAD_CERTIFICATE' });
      await assert.rejects(requestedKey('nonsense'), { code: 'MTLS_BAD_CERTIFICATE' });
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });

  describe('as OpenSSL judges them', () => {
    before(function () {
      if (spawnSync('openssl', ['version']).status !== 0) skip(this, 'openssl is not installed');
    });

    for (const algorithm of ['p384', 'p256', 'ed25519'] as const) {
      it(`accepts a leaf of an ${algorithm} CA as server and as client`, async () => {
        const issuer = await makeCa(algorithm, ['10.1.0.0/16']);
        const leaf = await makeLeaf(issuer, 'records.alba.example', ['10.1.2.3']);
        assert.match(verify(issuer, leaf, 'sslserver'), /: OK$/);
        assert.match(verify(issuer, leaf, 'sslclient'), /: OK$/);
      });
    }

    it('refuses a leaf with a DNS name, URI or address outside the bounds of its CA', async () => {
      const ranged = await makeCa('p256', ['10.1.0.0/16']);
      assert.match(
        verify(ca, await makeLeaf(ca, 'records.bruma.example'), 'sslserver'),
        /permitted subtree violation/,
      );
      assert.match(
        verify(ca, await makeLeaf(ca, 'a.alba.example', [], 'bruma.example'), 'sslserver'),
        /permitted subtree violation/,
      );
      assert.match(
        verify(ca, await makeLeaf(ca, 'a.alba.example', ['10.1.2.3']), 'sslserver'),
        /excluded subtree violation/,
      );
      assert.match(
        verify(ranged, await makeLeaf(ranged, 'a.alba.example', ['10.2.2.3']), 'sslserver'),
        /permitted subtree violation/,
      );
      assert.match(
        verify(ranged, await makeLeaf(ranged, 'a.alba.example', ['::1']), 'sslserver'),
        /subtree violation/,
      );
    });

    it('follows a cross certificate from the former CA, in a CA file in the order of a bundle too', async () => {
      const keys = await generateKeyPair('ed25519');
      const now = Date.now();
      const validity = { notBefore: now - HOUR, notAfter: now + HOUR, serial: serial('6') };
      const certificate = await createSuccessorCertificate(
        ca.certificate,
        validity,
        'ed25519',
        keys,
      );
      const cross = await createCrossCertificate(ca, keys.publicKey, validity);
      const next = { certificate, algorithm: 'ed25519', privateKey: keys.privateKey } as const;
      const leaf = await makeLeaf(next, 'records.alba.example');
      const trusting = (...pems: readonly string[]) => ({ ...ca, certificate: pems.join('') });
      assert.match(verify(ca, leaf, 'sslserver', cross), /: OK$/);
      assert.match(verify(ca, leaf, 'sslserver'), /unable to get local issuer/);
      assert.match(verify(trusting(certificate, cross), leaf, 'sslclient'), /: OK$/);
      assert.match(
        verify(trusting(ca.certificate, certificate, cross), leaf, 'sslserver', cross),
        /: OK$/,
      );
      const old = await makeLeaf(ca, 'records.alba.example');
      assert.match(verify(trusting(certificate, cross), old, 'sslserver'), /unable to get/);
      const free = await makeLeaf(next, 'records.bruma.example');
      assert.match(verify(ca, free, 'sslserver', cross), /permitted subtree violation/);
    });

    it('is told of a CA without bounds, and so is the operator', () => {
      const directory = mkdtempSync(join(tmpdir(), 'kelmesh-free-'));
      try {
        const free =
          openssl(directory, [
            'req',
            '-x509',
            '-newkey',
            'ed25519',
            '-nodes',
            '-keyout',
            'k',
            '-subj',
            '/CN=Free',
          ]) ?? '';
        assert.throws(() => parseCaBundle(free), { code: 'MTLS_UNCONSTRAINED' });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    });
  });
});

function openssl(directory: string, args: readonly string[]): string | undefined {
  if (spawnSync('openssl', ['version']).status !== 0) return undefined;
  return execFileSync('openssl', args, {
    cwd: directory,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}

function verify(issuer: Issuer, leaf: string, purpose: string, untrusted = ''): string {
  const directory = mkdtempSync(join(tmpdir(), 'kelmesh-verify-'));
  try {
    writeFileSync(join(directory, 'ca.pem'), issuer.certificate);
    writeFileSync(join(directory, 'leaf.pem'), leaf);
    writeFileSync(join(directory, 'cross.pem'), untrusted);
    const cross = untrusted === '' ? [] : ['-untrusted', 'cross.pem'];
    const args = ['verify', '-x509_strict', '-purpose', purpose, '-CAfile', 'ca.pem', ...cross];
    const { stdout, stderr } = spawnSync('openssl', [...args, 'leaf.pem'], {
      cwd: directory,
      encoding: 'utf8',
    });
    return `${stderr}${stdout}`.trim();
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
