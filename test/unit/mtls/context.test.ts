import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { utf8 } from '#src/bytes';
import { clientOptions, serverOptions } from '#src/mtls/context';
import { explainTlsError } from '#src/mtls/explain';
import { Secret } from '#src/secret';

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

  const check = (subjectaltname: string | undefined, serverName: string, serverUri?: string) => {
    const options = clientOptions({
      ...identity,
      serverName,
      ...(serverUri === undefined ? {} : { serverUri }),
    });
    const certificate = { subject: { CN: serverName }, subjectaltname } as never;
    return (options.checkServerIdentity?.('ignored', certificate) as { code?: string } | undefined)
      ?.code;
  };

  it('takes a name from the SAN alone, never from the subject', () => {
    assert.equal(check(undefined, 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(check('URI:kelmesh://a.example/x', 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(check('DNS:a.example', 'a.example'), undefined);
    assert.equal(check('DNS:b.example', 'a.example'), 'MTLS_WRONG_NAME');
    assert.equal(check('IP Address:10.0.0.1', '10.0.0.1'), undefined);
    assert.equal(check('DNS:a.example', '10.0.0.1'), 'MTLS_WRONG_NAME');
  });

  it('takes the identity only when the URI is the same to the last character', () => {
    const san = 'DNS:a.example, URI:kelmesh://a.example/records';
    assert.equal(check(san, 'a.example', 'kelmesh://a.example/records'), undefined);
    assert.equal(check(san, 'a.example', 'kelmesh://a.example/record'), 'MTLS_WRONG_NAME');
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
