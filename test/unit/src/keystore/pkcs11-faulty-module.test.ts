/** Modules that lie, between us and a real SoftHSM. */
import assert from 'node:assert/strict';
import { after, afterEach, before, describe, it } from 'mocha';
import { verifyP256 } from '#src/crypto/p256';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { SigningAlgorithm } from '#src/keystore/key-store';
import type {
  Pkcs11Event,
  Pkcs11KeyStore,
  Pkcs11Options,
} from '#src/keystore/pkcs11/pkcs11-key-store';
import {
  createFaultyToken,
  type FaultyToken,
  faultyTokenProblem,
  type TokenLie,
} from '../../../support/machines/faulty-token.ts';
import { skip } from '../../../support/skip.ts';

const { ed25519 } = await loadCryptoSuite();
const message = Buffer.from('message');

describe('PKCS#11 key store on a module that lies', () => {
  let token: FaultyToken | undefined;
  const stores: Pkcs11KeyStore[] = [];

  before(async function () {
    const problem = await faultyTokenProblem();
    if (problem !== undefined) skip(this, problem);
    token = await createFaultyToken();
  });
  afterEach(async () => {
    for (const store of stores.splice(0)) await store.close();
  });
  after(() => token?.[Symbol.asyncDispose]());

  async function open(lie: TokenLie, options: Partial<Pkcs11Options> = {}) {
    const events: Pkcs11Event[] = [];
    const store = await (token as FaultyToken).open(lie, {
      onEvent: (event) => events.push(event),
      ...options,
    });
    stores.push(store);
    const logins = () => events.filter(({ kind }) => kind === 'process-started').length;
    return { store, logins };
  }

  async function signs(store: Pkcs11KeyStore, algorithm: SigningAlgorithm): Promise<void> {
    const { id, publicKey } = await store.generateSigningKey(algorithm);
    assert.deepEqual(await store.signingKey(id), { id, algorithm, publicKey });
    const signature = await store.sign(id, message);
    const verify = algorithm === 'ed25519' ? ed25519.verify : verifyP256;
    assert.ok(verify(signature, message, publicKey));
    assert.ok((await store.list()).some((entry) => entry.id === id));
    await store.destroy(id);
  }

  it('is the one of before where the module does not lie', async () => {
    const { store, logins } = await open('none');
    await signs(store, 'ed25519');
    await signs(store, 'p256');
    assert.equal(logins(), 1);
  });

  describe('about slots: one that cannot be read', () => {
    it('hides no other', async () => {
      const { store } = await open('unreadable-slot');
      await signs(store, 'ed25519');
    });

    it('is named when the token is not among those that can', async () => {
      await assert.rejects(open('unreadable-slot', { tokenLabel: 'other' }), {
        code: 'KEYSTORE_NO_TOKEN',
        message: /"other".*"kelmesh test".*not readable: a slot \(48\)/,
      });
    });
  });

  for (const lie of ['only-oid', 'only-name'] as const)
    for (const algorithm of ['ed25519', 'p256'] as const)
      it(`about curves: makes, finds, lists and uses ${algorithm} keys where one form of its name is known: ${lie}`, async () => {
        const { store } = await open(lie);
        await signs(store, algorithm);
      });

  it('about curves: says so when none is known', async () => {
    const { store } = await open('no-curve');
    await assert.rejects(store.generateSigningKey('ed25519'), {
      code: 'KEYSTORE_UNSUPPORTED',
      message: /in no form \(0x140\)/,
    });
    await store.generateRoot();
  });

  for (const lie of ['logout', 'lying-logout'] as const)
    describe(`about the login, that has ended by itself: ${lie}`, () => {
      /** Three signatures, and the login is over. */
      async function loggedOut() {
        const opened = await open(lie);
        const { store } = opened;
        const used = await store.generateSigningKey('p256');
        const other = await store.generateSigningKey('p256');
        const root = await store.generateRoot();
        const before = await store.prf(root, message, 96);
        return { ...opened, used, other, root, before };
      }

      it('takes no key for destroyed, and logs in again once', async () => {
        const { store, used, other, root, before, logins } = await loggedOut();
        assert.equal((await store.sign(used.id, message)).length, 64);
        assert.equal((await store.sign(other.id, message)).length, 64);
        assert.ok((await store.prf(root, message, 96)).equals(before));
        assert.ok(logins() >= 2);
      });

      it('lists every key', async () => {
        const { store, used, other, root } = await loggedOut();
        const ids = (await store.list()).map(({ id }) => id);
        for (const id of [used.id, other.id, root]) assert.ok(ids.includes(id), id);
      });

      it('calls no key destroyed that lives on', async () => {
        const { store, used } = await loggedOut();
        await store.destroy(used.id);
        await store.close();
        const { store: truthful } = await open('none');
        assert.equal(
          (await truthful.list()).some(({ id }) => id === used.id),
          false,
        );
      });

      it('names a key that is missing in truth, after one more login at most', async () => {
        const { store, used, logins } = await loggedOut();
        const { store: truthful } = await open('none');
        await truthful.destroy(used.id);
        await assert.rejects(store.sign(used.id, message), { code: 'KEYSTORE_NO_SUCH_KEY' });
        assert.ok(logins() <= 2);
      });
    });

  describe('about sessions: a token that has one', () => {
    it('makes, finds, lists, uses and destroys keys', async () => {
      const { store, logins } = await open('one-session');
      await signs(store, 'ed25519');
      await signs(store, 'p256');
      const root = await store.generateRoot();
      assert.equal((await store.prf(root, message, 100)).length, 100);
      assert.equal(logins(), 1);
    });

    it('answers the next call after one that left the session stuck', async () => {
      const { store, logins } = await open('one-session-once-broken');
      const { id } = await store.generateSigningKey('ed25519');
      await assert.rejects(store.sign(id, message), { code: 'KEYSTORE_TOKEN_FAILED' });
      assert.equal((await store.sign(id, message)).length, 64);
      assert.equal(logins(), 2);
    });

    it('is told from one whose sessions others use', async () => {
      await assert.rejects(open('no-session'), { code: 'KEYSTORE_LOCKED' });
    });
  });
});
