import assert from 'node:assert/strict';
import { KeyObject } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConnectionOptions, connect, createServer, type TlsOptions } from 'node:tls';
import { after, before, describe, it } from 'mocha';
import { describeCa, exportBundle, initCa } from '#agent/inner/ca/ca';
import { issueCertificate, serviceIdentity } from '#agent/inner/ca/issue';
import type { CaAccess } from '#agent/inner/ca/open-ca';
import { rotateCa } from '#agent/inner/ca/rotation';
import { callEcho, serveEcho } from '#agent/inner/ca/service';
import { importBundle } from '#agent/inner/ca/trust';
import { utf8 } from '#src/bytes';
import {
  createCrossCertificate,
  createLeafCertificate,
  createSuccessorCertificate,
} from '#src/mtls/certificate';
import { clientOptions, type MtlsIdentity, serverOptions } from '#src/mtls/context';
import { parseDnsName } from '#src/mtls/dns-name';
import type { MtlsError } from '#src/mtls/errors';
import { explainTlsError } from '#src/mtls/explain';
import { generateKeyPair } from '#src/mtls/key-algorithm';
import { Secret } from '#src/secret';
import { SeededRng } from '../support/doubles/seeded-rng.ts';
import { cheapCost } from '../support/kit/ca.ts';
import { SimulatedClock } from '../support/simulation/simulated-clock.ts';

const HOST = '127.0.0.1';
const DAY = 86_400_000;

describe('inner mTLS between services of two organisations', () => {
  let root: string;
  /** `alba` and `bruma` trust each other; nobody trusts `corvo`. */
  const dir = (org: string) => join(root, org);

  async function organisation(name: string, algorithm: 'p384' | 'p256' | 'ed25519') {
    const clock = new SimulatedClock({ start: Date.now() });
    using passphrase = new Secret(utf8(`passphrase of ${name}`));
    const common = { dir: dir(name), passphrase, clock, rng: new SeededRng(name) };
    await initCa({ ...common, name, algorithm, ipRanges: ['127.0.0.0/8'], cost: cheapCost });
    await issueCertificate({ ...common, name: 'records', ips: [HOST] });
  }

  async function trust(who: string, whom: string) {
    const clock = new SimulatedClock({ start: Date.now() });
    const bundle = await exportBundle(dir(whom), clock);
    await importBundle({ dir: dir(who), bundle, clock });
  }

  before(async () => {
    root = await mkdtemp(join(tmpdir(), 'kelmesh-mtls-'));
    await organisation('alba', 'p384');
    await organisation('bruma', 'ed25519');
    await organisation('corvo', 'p256');
    await trust('alba', 'bruma');
    await trust('bruma', 'alba');
    await trust('corvo', 'alba');
  });

  after(async () => {
    await rm(root, { recursive: true, force: true });
  });

  const identity = (org: string) =>
    serviceIdentity(dir(org), 'records', new SimulatedClock({ start: Date.now() }));

  /** Calls `records` of alba, served with `server`, and gives the reply or the error, with what the server saw. */
  async function call(
    client: MtlsIdentity,
    {
      server,
      serverName = 'records.alba.kelmesh.internal',
      serverUri,
    }: { server?: MtlsIdentity; serverName?: string; serverUri?: string } = {},
  ) {
    const refused: MtlsError[] = [];
    await using service = await serveEcho({
      host: HOST,
      port: 0,
      tls: server ?? (await identity('alba')),
      onRefused: (error) => refused.push(error),
    });
    const tls = { ...client, serverName, ...(serverUri === undefined ? {} : { serverUri }) };
    const outcome = await callEcho({ host: HOST, port: service.port, tls, text: 'hello' }).then(
      (reply) => ({ reply, error: undefined }),
      (error: MtlsError) => ({ reply: undefined, error }),
    );
    return { ...outcome, refused };
  }

  it("lets two organisations talk that took in each other's CA", async () => {
    const { reply } = await call(await identity('bruma'));
    assert.equal(reply?.text, 'kelmesh://bruma.kelmesh.internal/records said hello');
    assert.equal(reply?.server.uri, 'kelmesh://alba.kelmesh.internal/records');
    assert.equal(reply?.server.protocol, 'TLSv1.3');
    assert.equal(reply?.server.keyAgreement, 'X25519MLKEM768');
    assert.equal(reply?.server.issuer, 'alba');
  });

  it('accepts the server by an IP address of its certificate', async () => {
    const { reply, error } = await call(await identity('bruma'), { serverName: HOST });
    assert.equal(error, undefined);
    assert.match(reply?.text ?? '', /said hello$/);
  });

  it('refuses a client of a CA that the server does not trust', async () => {
    const { error, refused } = await call(await identity('corvo'));
    assert.equal(error?.code, 'MTLS_REFUSED');
    assert.deepEqual(
      refused.map(({ code }) => code),
      ['MTLS_UNTRUSTED'],
    );
  });

  it('refuses a server of a CA that the client does not trust, and names the issuer', async () => {
    const { error } = await call(await identity('bruma'), {
      server: await identity('corvo'),
      serverName: 'records.corvo.kelmesh.internal',
    });
    assert.equal(error?.code, 'MTLS_UNTRUSTED');
    assert.match(error?.message ?? '', /issuer: CN=corvo/);
    assert.match(error?.hint ?? '', /kelmesh ca trust/);
  });

  it('refuses a trusted server under another name or another identity', async () => {
    const bruma = await identity('bruma');
    const byName = await call(bruma, { serverName: 'billing.alba.kelmesh.internal' });
    assert.equal(byName.error?.code, 'MTLS_WRONG_NAME');
    const byUri = await call(bruma, { serverUri: 'kelmesh://alba.kelmesh.internal/billing' });
    assert.equal(byUri.error?.code, 'MTLS_WRONG_NAME');
  });

  it('refuses an expired certificate on either side', async () => {
    const past = new SimulatedClock({ start: Date.now() - 2 * DAY });
    using passphrase = new Secret(utf8('passphrase of delta'));
    const delta = { dir: dir('delta'), passphrase, clock: past, rng: new SeededRng('delta') };
    await initCa({ ...delta, name: 'delta', cost: cheapCost });
    await issueCertificate({ ...delta, name: 'records', days: 1 });
    await trust('delta', 'alba');
    await trust('alba', 'delta');
    const asClient = await call(await identity('delta'));
    assert.equal(asClient.error?.code, 'MTLS_REFUSED');
    assert.deepEqual(
      asClient.refused.map(({ code }) => code),
      ['MTLS_EXPIRED'],
    );
    const asServer = await call(await identity('alba'), {
      server: await identity('delta'),
      serverName: 'records.delta.kelmesh.internal',
    });
    assert.equal(asServer.error?.code, 'MTLS_EXPIRED');
  });

  it('refuses a client without a certificate', async () => {
    const { ca, ...rest } = clientOptions({ ...(await identity('bruma')), serverName: HOST });
    const { clientError, serverError } = await handshake(
      serverOptions(await identity('alba')),
      withoutCertificate({ ca, ...rest }),
    );
    assert.equal(clientError, 'MTLS_NO_CERTIFICATE');
    assert.equal(serverError, 'MTLS_NO_CERTIFICATE');
  });

  it('refuses TLS 1.2 from either side', async () => {
    const old = {
      minVersion: 'TLSv1.2',
      maxVersion: 'TLSv1.2',
      ecdhCurve: 'X25519',
      ciphers: 'DEFAULT',
    } as const;
    assert.equal(
      (await handshake(await goodServer(), { ...(await goodClient()), ...old })).clientError,
      'MTLS_OLD_TLS',
    );
    assert.equal(
      (await handshake({ ...(await goodServer()), ...old }, await goodClient())).clientError,
      'MTLS_OLD_TLS',
    );
  });

  for (const ecdhCurve of ['X25519', 'P-256', 'SecP256r1MLKEM768']) {
    it(`refuses a peer whose only key agreement is ${ecdhCurve}`, async () => {
      assert.equal(
        (await handshake(await goodServer(), { ...(await goodClient()), ecdhCurve })).clientError,
        'MTLS_NO_GROUP',
      );
      assert.equal(
        (await handshake({ ...(await goodServer()), ecdhCurve }, await goodClient())).clientError,
        'MTLS_NO_GROUP',
      );
    });
  }

  it('refuses another application protocol', async () => {
    const client = { ...(await goodClient()), ALPNProtocols: ['http/1.1'] };
    assert.equal((await handshake(await goodServer(), client)).clientError, 'MTLS_NO_PROTOCOL');
  });

  describe('while the CA of the server rotates', () => {
    const ELBA = 'records.elba.kelmesh.internal';
    /** Those of `elba`, from its first key to its third. */
    const chains: Record<string, MtlsIdentity> = {};
    const anchors: string[] = [];
    let elba: CaAccess;

    const issue = async (name: string) => {
      await issueCertificate({ ...elba, name: 'records', ips: [HOST], days: 30 });
      chains[name] = await identity('elba');
    };
    /** `fado` calls elba's service `server` and trusts `trusted` alone. */
    const callElba = async (server: MtlsIdentity, ...trusted: readonly string[]) =>
      call({ ...(await identity('fado')), trust: trusted }, { server, serverName: ELBA });
    const chainOf = (name: string) => chains[name] as MtlsIdentity;
    const anchor = (i: number) => anchors[i] as string;
    const current = async () => (await describeCa(dir('elba'))).pem;

    before(async () => {
      await organisation('elba', 'p384');
      await organisation('fado', 'p256');
      const clock = new SimulatedClock({ start: Date.now() });
      const passphrase = new Secret(utf8('passphrase of elba'));
      elba = { dir: dir('elba'), passphrase, clock, rng: new SeededRng('elba rotates') };
      await trust('elba', 'fado');
      await trust('fado', 'elba');
      anchors.push(await current());
      await issue('first');
      await rotateCa({ ...elba, step: 'prepare', algorithm: 'ed25519' });
      await issue('prepared');
      await rotateCa({ ...elba, step: 'activate' });
      anchors.push(await current());
      await issue('second');
    });

    it('accepts, from one that trusts the old CA alone, what the new one issued', async () => {
      const { reply, error } = await callElba(chainOf('second'), anchor(0));
      assert.equal(error, undefined);
      assert.equal(reply?.server.uri, 'kelmesh://elba.kelmesh.internal/records');
    });

    it('accepts old and new from one that trusts both, or either that it trusts', async () => {
      for (const name of ['first', 'prepared', 'second']) {
        const { error } = await callElba(chainOf(name), anchor(0), anchor(1));
        assert.equal(error, undefined, name);
      }
      assert.equal((await callElba(chainOf('first'), anchor(0))).error, undefined);
      assert.equal((await callElba(chainOf('second'), anchor(1))).error, undefined);
    });

    it('accepts as client too what the new CA issued, at a server that trusts the old one alone', async () => {
      const serve = async (...trusted: readonly string[]) =>
        call(chainOf('second'), {
          server: { ...(await identity('fado')), trust: trusted },
          serverName: 'records.fado.kelmesh.internal',
        });
      assert.equal((await serve(anchor(0))).error, undefined);
      const refused = await serve(await readFile(join(dir('corvo'), 'ca.pem'), 'utf8'));
      assert.equal(refused.error?.code, 'MTLS_REFUSED');
    });

    it('accepts both with what the others have from `ca trust` before, and after', async () => {
      const fado = async () => (await identity('fado')).trust;
      assert.deepEqual((await fado()).slice(1), [anchor(0)]);
      assert.equal((await callElba(chainOf('second'), ...(await fado()))).error, undefined);
      await trust('fado', 'elba');
      assert.equal((await fado()).length, 3);
      for (const name of ['first', 'second'])
        assert.equal((await callElba(chainOf(name), ...(await fado()))).error, undefined, name);
    });

    it('refuses the cross certificate of a stranger, or one that was signed by another than it says', async () => {
      const { leaf, certificate, cross, key } = await stranger(anchor(0));
      const forged = { ...chainOf('second'), key: new Secret(key.expose()) };
      for (const cert of [leaf + cross, leaf + cross + certificate, leaf + certificate]) {
        for (const trusted of [[anchor(0)], [anchor(1)], [anchor(0), anchor(1)]]) {
          const { error } = await callElba({ ...forged, cert }, ...trusted);
          assert.equal(error?.code, 'MTLS_UNTRUSTED');
        }
      }
      // The true cross certificate says nothing about another key.
      const [, trueCross = ''] = chainOf('second').cert.split(/(?<=-----END CERTIFICATE-----\n)/);
      const { error } = await callElba({ ...forged, cert: leaf + trueCross }, anchor(0));
      assert.equal(error?.code, 'MTLS_UNTRUSTED');
    });

    it('refuses the old certificates once the old CA is retired and its bundle taken in', async () => {
      await rotateCa({ ...elba, step: 'retire', immediately: true });
      await trust('fado', 'elba');
      const { trust: trusted } = await identity('fado');
      assert.deepEqual(trusted.slice(1), [anchor(1)]);
      for (const name of ['first', 'prepared']) {
        const { error } = await callElba(chainOf(name), ...trusted);
        assert.equal(error?.code, 'MTLS_UNTRUSTED', name);
      }
      assert.equal((await callElba(chainOf('second'), ...trusted)).error, undefined);
      await issue('third');
      assert.equal((await callElba(chainOf('third'), ...trusted)).error, undefined);
      // No cross certificate any more: who has not taken in the new one is out.
      assert.equal((await callElba(chainOf('third'), anchor(0))).error?.code, 'MTLS_UNTRUSTED');
    });

    it('after a replacement refuses everything before it, and needs a person on the other side', async () => {
      await rotateCa({ ...elba, step: 'replace' });
      await issue('fresh');
      await assert.rejects(trust('fado', 'elba'), { code: 'CA_OVERLAP' });
      const fado = async () => (await identity('fado')).trust;
      assert.equal(
        (await callElba(chainOf('fresh'), ...(await fado()))).error?.code,
        'MTLS_UNTRUSTED',
      );
      const { fingerprint } = await describeCa(dir('elba'));
      const bundle = await exportBundle(dir('elba'), elba.clock);
      await importBundle({ dir: dir('fado'), bundle, clock: elba.clock, fingerprint });
      assert.equal((await callElba(chainOf('fresh'), ...(await fado()))).error, undefined);
      for (const name of ['first', 'second', 'third']) {
        const { error } = await callElba(chainOf(name), ...(await fado()));
        assert.equal(error?.code, 'MTLS_UNTRUSTED', name);
      }
    });
  });

  it('does not resume a session: every connection checks the certificates again', async () => {
    const server = createServer(await goodServer(), (socket) => socket.end('x'));
    server.listen(0, HOST);
    await once(server, 'listening');
    try {
      const { port } = server.address() as AddressInfo;
      const options = { ...(await goodClient()), host: HOST, port };
      const sessions: Buffer[] = [];
      const first = connect(options)
        .on('session', (session) => sessions.push(session))
        .resume();
      await once(first, 'close');
      const session = sessions.at(-1);
      const second = connect({
        ...options,
        ...(session === undefined ? {} : { session }),
      }).resume();
      await once(second, 'secureConnect');
      assert.equal(second.isSessionReused(), false);
      assert.equal(second.authorized, true);
      second.destroy();
    } finally {
      server.close();
      await once(server, 'close');
    }
  });

  const goodServer = async () => serverOptions(await identity('alba'));
  const goodClient = async () => clientOptions({ ...(await identity('bruma')), serverName: HOST });
});

function withoutCertificate({
  cert: _cert,
  key: _key,
  ...rest
}: ConnectionOptions): ConnectionOptions {
  return rest;
}

/** What somebody can make who knows the certificate of a CA, and not its key. */
async function stranger(ca: string) {
  const own = await generateKeyPair('p384');
  const next = await generateKeyPair('p384');
  const leafKeys = await generateKeyPair('p256');
  const now = Date.now();
  const validity = { notBefore: now - DAY, notAfter: now + DAY, serial: '4'.repeat(32) };
  const certificate = await createSuccessorCertificate(ca, validity, 'p384', next);
  const signer = { certificate, algorithm: 'p384', privateKey: next.privateKey } as const;
  const leaf = await createLeafCertificate(
    {
      ...validity,
      dnsNames: [parseDnsName('records.elba.kelmesh.internal')],
      ipAddresses: [],
      uri: 'kelmesh://elba.kelmesh.internal/records',
      publicKey: leafKeys.publicKey,
    },
    signer,
  );
  // Names the key of the true CA as the one that signed, and was signed with another.
  const cross = await createCrossCertificate(
    { certificate: ca, algorithm: 'p384', privateKey: own.privateKey },
    next.publicKey,
    validity,
  );
  const pem = KeyObject.from(leafKeys.privateKey).export({ type: 'pkcs8', format: 'pem' });
  return { leaf, certificate, cross, key: new Secret(utf8(pem as string)) };
}

/** One handshake with any settings; the codes of what each side made of it, undefined when it went through. */
async function handshake(serverSide: TlsOptions, clientSide: ConnectionOptions) {
  let serverError: string | undefined;
  const server = createServer(serverSide, (socket) => socket.on('error', () => {}).end('x'));
  server.on('tlsClientError', (error) => {
    serverError = explainTlsError(error, 'client').code;
  });
  server.listen(0, HOST);
  await once(server, 'listening');
  try {
    const { port } = server.address() as AddressInfo;
    const socket = connect({ ...clientSide, host: HOST, port }).resume();
    const clientError = await once(socket, 'close').then(
      () => undefined,
      (error) => explainTlsError(error, 'server').code,
    );
    socket.destroy();
    return { clientError, serverError };
  } finally {
    server.close();
    await once(server, 'close');
  }
}
