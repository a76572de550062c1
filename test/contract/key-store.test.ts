/** What every key store promises: sealed file, PKCS#11 on a real SoftHSM, and the seeded one of the simulator. */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { hkdfExpand } from '#src/crypto/hash';
import { verifyP256 } from '#src/crypto/p256';
import { loadCryptoSuite } from '#src/crypto/suites';
import type { KeyId, KeyStore, SigningAlgorithm } from '#src/keystore/key-store';
import { SealedFileKeyStore } from '#src/keystore/sealed-file';
import { SealedFileProcess } from '#src/keystore/sealed-file-process';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';
import { seededKeyStore } from '../support/doubles/seeded-key-store.ts';
import { createTestToken, softHsmProblem, type TestToken } from '../support/machines/softhsm.ts';
import { skip } from '../support/skip.ts';

const rng: Rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };
const { ed25519 } = await loadCryptoSuite();
const message = Buffer.from('message');
const noSuchId = '00112233445566778899aabbccddeeff' as KeyId;

interface Place {
  open(): Promise<KeyStore>;
  remove(): Promise<void>;
  /** Whether keys survive closing. */
  readonly durable: boolean;
}

contract('sealed file', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kelmesh-keys-'));
  const path = join(directory, 'keys');
  const passphrase = new Secret(Buffer.from('correct horse'));
  const cheap = { memory: 64, passes: 1, lanes: 1 };
  await (await SealedFileKeyStore.create(path, passphrase, rng, cheap)).close();
  return {
    open: () => SealedFileKeyStore.open(path, passphrase, rng),
    remove: () => rm(directory, { recursive: true }),
    durable: true,
  };
});

contract('sealed file in a process of its own', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'kelmesh-keys-'));
  const path = join(directory, 'keys');
  const passphrase = new Secret(Buffer.from('correct horse'));
  const cheap = { memory: 64, passes: 1, lanes: 1 };
  await (await SealedFileProcess.create(path, passphrase, {}, cheap)).close();
  return {
    open: () => SealedFileProcess.open(path, passphrase),
    remove: () => rm(directory, { recursive: true }),
    durable: true,
  };
});

contract('PKCS#11 on SoftHSM', async (context) => {
  const problem = await softHsmProblem();
  if (problem !== undefined) skip(context, problem);
  const token: TestToken = await createTestToken();
  return { open: () => token.open(), remove: () => token.remove(), durable: true };
});

contract('seeded, in memory', async () => ({
  open: async () => seededKeyStore(rng),
  remove: async () => undefined,
  durable: false,
}));

function contract(name: string, prepare: (context: Mocha.Context) => Promise<Place>): void {
  describe(`key store: ${name}`, () => {
    let place: Place | undefined;
    let store: KeyStore;

    before(async function () {
      place = await prepare(this);
      store = await place.open();
    });
    after(async () => {
      await store?.close();
      await place?.remove();
    });

    it('describes itself without a secret', () => {
      assert.ok(store.description.location.length > 0);
      assert.doesNotMatch(JSON.stringify(store.description), /horse|482915/);
    });

    for (const algorithm of ['ed25519', 'p256'] satisfies SigningAlgorithm[]) {
      it(`${algorithm}: generates, finds and signs`, async () => {
        const key = await store.generateSigningKey(algorithm);
        assert.equal(key.algorithm, algorithm);
        assert.match(key.id, /^[0-9a-f]{32}$/);
        assert.equal(key.publicKey.length, algorithm === 'ed25519' ? 32 : 33);
        assert.deepEqual(await store.signingKey(key.id), key);
        for (const text of [message, Buffer.alloc(1), Buffer.alloc(100_000, 1)]) {
          const signature = await store.sign(key.id, text);
          assert.equal(signature.length, 64);
          const valid =
            algorithm === 'ed25519'
              ? ed25519.verify(signature, text, key.publicKey)
              : verifyP256(signature, text, key.publicKey);
          assert.ok(valid);
        }
      });
    }

    it('p256: s is always low', async () => {
      const { id } = await store.generateSigningKey('p256');
      const half = Buffer.from(
        '7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8',
        'hex',
      );
      for (let i = 0; i < 16; i++) {
        const signature = await store.sign(id, Uint8Array.of(i));
        assert.ok(Buffer.compare(signature.subarray(32), half) <= 0);
      }
    });

    it('generates Ed25519 by default, and never the same key twice', async () => {
      const first = await store.generateSigningKey();
      const second = await store.generateSigningKey();
      assert.equal(first.algorithm, 'ed25519');
      assert.notEqual(first.id, second.id);
      assert.notDeepEqual(first.publicKey, second.publicKey);
    });

    it('prf is a function of root, label and length as HKDF-Expand is', async () => {
      const [root, other] = [await store.generateRoot(), await store.generateRoot()];
      const label = Buffer.from('label');
      const long = await store.prf(root, label, 200);
      assert.equal(long.length, 200);
      for (const length of [1, 31, 32, 33, 64, 65, 199]) {
        const short = await store.prf(root, label, length);
        assert.deepEqual(
          Buffer.from(short.expose()),
          Buffer.from(long.expose().subarray(0, length)),
        );
      }
      assert.ok(!(await store.prf(root, Buffer.from('labe1'), 200)).equals(long));
      assert.ok(!(await store.prf(other, label, 200)).equals(long));
      assert.equal((await store.prf(root, new Uint8Array(0), 8160)).length, 8160);
    });

    it('refuses lengths out of bounds, and an empty message, and works on', async () => {
      const root = await store.generateRoot();
      const { id } = await store.generateSigningKey();
      for (const length of [0, -1, 1.5, 8161]) {
        await assert.rejects(store.prf(root, message, length), { code: 'KEYSTORE_BAD_LENGTH' });
      }
      await assert.rejects(store.prf(root, new Uint8Array(65_537), 32), {
        code: 'KEYSTORE_BAD_LENGTH',
      });
      await assert.rejects(store.sign(id, new Uint8Array(0)), { code: 'KEYSTORE_BAD_LENGTH' });
      await assert.rejects(store.sign(id, new Uint8Array((1 << 20) + 1)), {
        code: 'KEYSTORE_BAD_LENGTH',
      });
      assert.equal((await store.sign(id, message)).length, 64);
    });

    it('says which key is missing, also one of the other kind', async () => {
      const root = await store.generateRoot();
      const { id } = await store.generateSigningKey();
      const missing = { code: 'KEYSTORE_NO_SUCH_KEY', message: new RegExp(noSuchId) };
      await assert.rejects(store.sign(noSuchId, message), missing);
      await assert.rejects(store.signingKey(noSuchId), missing);
      await assert.rejects(store.prf(noSuchId, message, 32), missing);
      await assert.rejects(store.sign(root, message), { code: 'KEYSTORE_NO_SUCH_KEY' });
      await assert.rejects(store.prf(id, message, 32), { code: 'KEYSTORE_NO_SUCH_KEY' });
      await assert.rejects(store.sign('../x' as KeyId, message), { code: 'KEYSTORE_NO_SUCH_KEY' });
    });

    it('lists what was generated and not what was destroyed', async () => {
      const key = await store.generateSigningKey('p256');
      const root = await store.generateRoot();
      const listed = await store.list();
      assert.deepEqual(
        listed.find(({ id }) => id === key.id),
        { id: key.id, kind: 'signing', algorithm: 'p256' },
      );
      assert.deepEqual(
        listed.find(({ id }) => id === root),
        { id: root, kind: 'root' },
      );
      for (const id of [key.id, root]) {
        await store.destroy(id);
        await store.destroy(id);
      }
      const left = (await store.list()).map(({ id }) => id);
      assert.equal(left.includes(key.id) || left.includes(root), false);
      await assert.rejects(store.sign(key.id, message), { code: 'KEYSTORE_NO_SUCH_KEY' });
      await assert.rejects(store.prf(root, message, 32), { code: 'KEYSTORE_NO_SUCH_KEY' });
    });

    it('serves calls that are made at once', async () => {
      const keys = await Promise.all([
        store.generateSigningKey(),
        store.generateSigningKey(),
        store.generateRoot(),
      ]);
      const ids = (await store.list()).map(({ id }) => id);
      for (const key of keys) assert.ok(ids.includes(typeof key === 'string' ? key : key.id));
    });

    it('keeps its keys over closing, and refuses to work closed', async () => {
      const key = await store.generateSigningKey();
      const root = await store.generateRoot();
      const derived = await store.prf(root, message, 32);
      const listed = await store.list();
      await store.close();
      await store.close();
      await assert.rejects(store.sign(key.id, message), { code: 'KEYSTORE_CLOSED' });
      await assert.rejects(store.generateRoot(), { code: 'KEYSTORE_CLOSED' });
      store = await (place as Place).open();
      if (!place?.durable) return;
      assert.deepEqual(await store.list(), listed);
      assert.deepEqual(await store.signingKey(key.id), key);
      assert.ok((await store.prf(root, message, 32)).equals(derived));
    });
  });
}

describe('seeded key store', () => {
  it('gives the same keys for the same seed', async () => {
    const one = seededKeyStore(counting());
    const two = seededKeyStore(counting());
    const [a, b] = [await one.generateSigningKey(), await two.generateSigningKey()];
    assert.deepEqual(a, b);
    assert.deepEqual(await one.sign(a.id, message), await two.sign(b.id, message));
    const [r, s] = [await one.generateRoot(), await two.generateRoot()];
    assert.ok((await one.prf(r, message, 50)).equals(await two.prf(s, message, 50)));
    // The root is the 32 bytes that the source gave after the id.
    const expected = new Secret(hkdfExpand(new Uint8Array(32).fill(4), message, 50));
    assert.ok((await one.prf(r, message, 50)).equals(expected));
  });
});

/** The n-th call gives bytes of value n. */
function counting(): Rng {
  let calls = 0;
  return { bytes: (length) => new Uint8Array(length).fill(++calls) };
}
