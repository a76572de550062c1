import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import type { PeerCertificate } from 'node:tls';
import { before, describe, it } from 'mocha';
import { utf8 } from '#src/bytes';
import { clientOptions, serverOptions } from '#src/mtls/context';
import { explainTlsError } from '#src/mtls/explain';
import { Secret } from '#src/secret';
import {
  foreignCa,
  foreignLeaf,
  type MadeCertificate,
  names,
} from '../../../support/kit/certificates.ts';

const identity = { cert: 'c', key: new Secret(utf8('k')), trust: ['t'] };

describe('mtls context', () => {
  it('refuses an empty trust list, which to Node would mean the public CAs', () => {
    assert.throws(() => serverOptions({ ...identity, trust: [] }), { code: 'MTLS_NO_TRUST' });
    assert.throws(() => clientOptions({ ...identity, trust: [], serverName: 'a' }), {
      code: 'MTLS_NO_TRUST',
    });
  });

  it('asks both ends for a verified certificate, TLS 1.3 and the hybrid group', () => {
    const server = serverOptions(identity);
    const client = clientOptions({ ...identity, serverName: 'a' });
    assert.equal(server.requestCert, true);
    for (const options of [server, client]) {
      assert.equal(options.rejectUnauthorized, true);
      assert.equal(options.minVersion, 'TLSv1.3');
      assert.equal(options.ecdhCurve, 'X25519MLKEM768');
    }
  });

  let ca: MadeCertificate;
  before(async () => {
    ca = await foreignCa('any', undefined);
  });

  /** What a client says to a certificate with these names, and the name of the server for a subject. */
  async function check(san: readonly Uint8Array[], serverName: string, serverUri?: string) {
    const options = clientOptions({
      ...identity,
      serverName,
      ...(serverUri === undefined ? {} : { serverUri }),
    });
    const { pem } = await foreignLeaf(ca, san, `CN=${serverName}`);
    const certificate = new X509Certificate(pem).toLegacyObject() as PeerCertificate;
    return (options.checkServerIdentity?.('ignored', certificate) as { code?: string } | undefined)
      ?.code;
  }

  const { dns, uri, ip, email, directory } = names;

  it('takes a name from the SAN alone, never from the subject', async () => {
    assert.equal(await check([], 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(await check([uri('kelmesh://a.example/x')], 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(await check([dns('a.example')], 'a.example'), undefined);
    assert.equal(await check([dns('b.example')], 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(await check([ip(10, 0, 0, 1)], '10.0.0.1'), undefined);
    assert.equal(await check([dns('a.example')], '10.0.0.1'), 'MTLS_WRONG_NAME');
  });

  it('takes a wildcard for one label, and never for a domain', async () => {
    assert.equal(await check([dns('*.a.example')], 'records.a.example'), undefined);
    assert.equal(await check([dns('*.a.example')], 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(await check([dns('*.a.example')], 'x.records.a.example'), 'MTLS_WRONG_NAME');
    assert.equal(await check([dns('*.example')], 'a.example'), 'MTLS_WRONG_NAME');
  });

  it('takes the identity only when the URI is the same to the last character', async () => {
    const san = [dns('a.example'), uri('kelmesh://a.example/records')];
    assert.equal(await check(san, 'a.example', 'kelmesh://a.example/records'), undefined);
    assert.equal(await check(san, 'a.example', 'kelmesh://a.example/record'), 'MTLS_WRONG_NAME');
  });

  const wanted = 'kelmesh://a.example/records';
  const inside = `x, URI:${wanted}, DNS:a.example, y`;
  const carriers: Readonly<Record<string, Uint8Array>> = {
    'an e-mail address': email(inside),
    'a directory name': directory(inside),
    'another URI': uri(`kelmesh://b.example/${inside}`),
    'a DNS name': dns(inside),
  };
  for (const [what, carrier] of Object.entries(carriers))
    it(`reads no name out of another, as a line of text would have it: ${what}`, async () => {
      assert.equal(
        await check([dns('b.example'), carrier], 'b.example', wanted),
        'MTLS_WRONG_NAME',
      );
      assert.equal(await check([carrier], 'a.example'), 'MTLS_WRONG_NAME');
    });

  it('keeps the words of a stranger on one line of an error', () => {
    const error = explainTlsError(
      { code: 'SELF_SIGNED_CERT_IN_CHAIN' },
      'peer',
      `CN=x\n${'y'.repeat(500)}`,
    );
    assert.equal(error.code, 'MTLS_UNTRUSTED');
    assert.equal(error.message.includes('\n'), false);
    assert.ok(error.message.length < 220);
  });

  it('leaves what it does not know as it is, with the cause', () => {
    const cause = Object.assign(new Error('x'), { code: 'ECONNREFUSED' });
    const error = explainTlsError(cause, '127.0.0.1:1');
    assert.equal(error.code, 'MTLS_FAILED');
    assert.equal(error.cause, cause);
  });
});
