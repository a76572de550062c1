import assert from 'node:assert/strict';
import { describe, it } from 'mocha';
import { Identity } from '#agent/identity/own/identity';
import type { LocalKeys } from '#agent/identity/own/local-keys';
import { keyDigest } from '#kel/event/key-digest';
import { digestSeal } from '#kel/event/seal';
import type { Said } from '#kel/identifiers';
import type { KeyStore } from '#src/keystore/key-store';
import {
  codeOf,
  type Disk,
  identityDeps,
  newDisk,
  verifySignature,
} from '../../../../support/kit/party.ts';

const options = { algorithm: 'ed25519', kind: 'CBOR' } as const;
const message = new Uint8Array([1, 2, 3]);

/** A key store that dies at its n-th changing call: before the call has an effect, or after. */
class FailingKeyStore {
  calls = 0;
  #at = Number.POSITIVE_INFINITY;
  #after = false;
  #once = false;
  readonly store: KeyStore;

  constructor(inner: KeyStore) {
    const guard =
      <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
      async (...args: A): Promise<R> => {
        this.calls += 1;
        const fails = this.#once ? this.calls === this.#at : this.calls >= this.#at;
        if (fails && !(this.#after && this.calls === this.#at)) throw new Error('token gone');
        const result = await call(...args);
        if (fails) throw new Error('token gone');
        return result;
      };
    this.store = {
      ...inner,
      generateSigningKey: guard(inner.generateSigningKey),
      generateRoot: guard(inner.generateRoot),
      sign: guard(inner.sign),
      destroy: guard(inner.destroy),
    };
  }

  failAt(call: number, { after = false, once = false } = {}): void {
    this.#at = this.calls + call;
    this.#after = after;
    this.#once = once;
  }

  heal(): void {
    this.#at = Number.POSITIVE_INFINITY;
  }
}

interface Failure {
  readonly name: string;
  arm(n: number): void;
  heal(): void;
}

function failingDisk(name: string): {
  disk: Disk;
  failures: readonly Failure[];
  keys: FailingKeyStore;
} {
  const plain = newDisk(name);
  const keys = new FailingKeyStore(plain.keyStore);
  const disk = { ...plain, keyStore: keys.store };
  const heal = () => {
    plain.db.heal();
    keys.heal();
  };
  const failures: Failure[] = [
    { name: 'write lost', arm: (n) => plain.db.failAt(n, 'lost'), heal },
    { name: 'write on disk, answer lost', arm: (n) => plain.db.failAt(n, 'persisted'), heal },
    { name: 'key store call without effect', arm: (n) => keys.failAt(n), heal },
    { name: 'key store call with effect', arm: (n) => keys.failAt(n, { after: true }), heal },
  ];
  return { disk, failures, keys };
}

/** The identity can do all that it could: keys match the log, events are accepted, secrets derive. */
async function expectWhole(identity: Identity, disk: Disk): Promise<void> {
  const { sn } = await identity.anchor([digestSeal(`E${'A'.repeat(43)}` as Said)]);
  await identity.rotate();
  assert.equal(identity.state.sn, sn + 1);
  (await identity.storageKey('agreements'))[Symbol.dispose]();
  const { wireguard } = await identity.tunnelSecrets(identity.state.establishment.said, 0);
  assert.equal(wireguard.length, 32);
  const again = await Identity.open(await identityDeps(disk));
  assert.deepEqual(again.state, identity.state);
  assert.equal((await identityDeps(disk)).kel.aids().length, 1);
}

const FAILURE_NAMES = failingDisk('names').failures.map(({ name }) => name);

describe('identity', () => {
  it('incepts, commits to the next key, and is the same when opened again', async () => {
    const disk = newDisk('plain');
    const identity = await Identity.create(await identityDeps(disk), options);
    assert.equal(identity.state.sn, 0);
    assert.equal(identity.state.eventType, 'icp');
    assert.equal(identity.aid, identity.state.said as string);
    const opened = await Identity.open(await identityDeps(disk));
    assert.deepEqual(opened.state, identity.state);
    assert.equal(
      await codeOf(Identity.create(await identityDeps(disk), options)),
      'IDENTITY_EXISTS',
    );
  });

  it('says that there is none', async () => {
    const deps = await identityDeps(newDisk('none'));
    assert.equal(Identity.exists(deps.table), false);
    assert.equal(await codeOf(Identity.open(deps)), 'IDENTITY_MISSING');
  });

  it('rotates to the key that it committed to and destroys the former one', async () => {
    const disk = newDisk('rotation');
    const identity = await Identity.create(await identityDeps(disk), options);
    const [digest] = identity.state.nextDigests;
    const former = (await disk.keyStore.list()).length;
    const state = await identity.rotate();
    assert.deepEqual(
      state.keys.map((key) => keyDigest(key)),
      [digest],
    );
    const signing = (await disk.keyStore.list()).filter(({ kind }) => kind === 'signing');
    assert.equal(signing.length, 2, 'current and next');
    assert.equal((await disk.keyStore.list()).length, former + 1, 'one root more, no signing key');
    for (let i = 0; i < 4; i++) await identity.rotate();
    const roots = (await disk.keyStore.list()).filter(({ kind }) => kind === 'root');
    assert.equal(roots.length, 4, 'current, former, next, and that of the storage keys');
  });

  it('keeps the storage key through rotations, and gives each establishment event its own tunnel keys', async () => {
    const identity = await Identity.create(await identityDeps(newDisk('secrets')), options);
    const first = identity.state.establishment.said;
    const storage = await identity.storageKey('agreements');
    const tunnel = await identity.tunnelSecrets(first, 0);
    await identity.rotate();
    assert.ok((await identity.storageKey('agreements')).equals(storage));
    assert.ok(!(await identity.storageKey('audit-log')).equals(storage));
    assert.ok((await identity.tunnelSecrets(first, 0)).wireguard.equals(tunnel.wireguard));
    const second = await identity.tunnelSecrets(identity.state.establishment.said, 0);
    assert.ok(!second.wireguard.equals(tunnel.wireguard));
    await identity.rotate();
    await identity.rotate();
    assert.equal(await codeOf(identity.tunnelSecrets(first, 0)), 'IDENTITY_KEYS_LOST');
  });

  it('rotates P-256 identities to P-256 keys', async () => {
    const disk = newDisk('p256');
    const identity = await Identity.create(await identityDeps(disk), {
      algorithm: 'p256',
      kind: 'JSON',
    });
    await identity.rotate();
    assert.ok(identity.state.keys.every((key) => key.startsWith('1AAJ')));
    assert.equal(identity.state.kind, 'JSON');
  });

  it('never signs with the keys of one event under the name of another', async () => {
    const disk = newDisk('race');
    const deps = await identityDeps(disk);
    const identity = await Identity.create(deps, options);
    const rotation = identity.rotate();
    const groups = await Promise.all([1, 2, 3].map(() => identity.signerGroup(message)));
    await rotation;
    for (const { aid, sn, said, signatures } of groups) {
      const established = await deps.kel.establishment(aid, sn, said);
      const key = established?.keys[0];
      const [signature] = signatures;
      assert.ok(key !== undefined && signature !== undefined);
      assert.ok(verifySignature(key, signature.raw, message));
    }
  });

  it('says that keys are lost when the key store is another one', async () => {
    const disk = newDisk('lost');
    await Identity.create(await identityDeps(disk), options);
    const other = { ...disk, keyStore: newDisk('other').keyStore };
    assert.equal(await codeOf(Identity.open(await identityDeps(other))), 'IDENTITY_KEYS_LOST');
  });

  it('says so for each single key that is missing', async () => {
    const disk = newDisk('single');
    const identity = await Identity.create(await identityDeps(disk), options);
    await identity.rotate();
    const entries = await disk.keyStore.list();
    for (const { id } of entries) {
      const keyStore = {
        ...disk.keyStore,
        list: async () => entries.filter((entry) => entry.id !== id),
      };
      const deps = await identityDeps({ ...disk, keyStore });
      const { next } = deps.table.get<LocalKeys>('local-keys') as LocalKeys;
      assert.equal(
        await codeOf(Identity.open(deps)),
        next.signing.includes(id) ? 'IDENTITY_NEXT_KEYS_LOST' : 'IDENTITY_CURRENT_KEYS_LOST',
      );
    }
  });

  it('does not call keys lost when the token did not answer', async () => {
    const disk = newDisk('silent');
    await Identity.create(await identityDeps(disk), options);
    const list = () => Promise.reject(Object.assign(new Error('no'), { code: 'KEYSTORE_TIMEOUT' }));
    const silent = { ...disk, keyStore: { ...disk.keyStore, list } };
    assert.equal(await codeOf(Identity.open(await identityDeps(silent))), 'KEYSTORE_TIMEOUT');
  });

  it('notices an event in its log that it did not make', async () => {
    const disk = newDisk('diverged');
    const first = await Identity.create(await identityDeps(disk), options);
    const table = (await identityDeps(disk)).table;
    const remembered = table.get('local-keys');
    await first.rotate();
    // As if somebody with the pre-rotated key had rotated: this agent's memory is of before.
    await table.put({ 'local-keys': remembered });
    const keyStore = { ...disk.keyStore, list: async () => [] as never };
    assert.equal(
      await codeOf(Identity.open(await identityDeps({ ...disk, keyStore }))),
      'IDENTITY_KEYS_LOST',
    );
    const lenient = newDisk('diverged');
    // The same seed makes the same keys, so this key store still holds those of the inception.
    await Identity.create(
      await identityDeps({ ...newDisk('diverged'), keyStore: lenient.keyStore }),
      options,
    );
    const opened = Identity.open(await identityDeps({ ...disk, keyStore: lenient.keyStore }));
    assert.equal(await codeOf(opened), 'IDENTITY_LOG_DIVERGED');
  });

  it('rotates although a retired key cannot be destroyed, and destroys it later', async () => {
    const { disk, keys } = failingDisk('undestroyed');
    const identity = await Identity.create(await identityDeps(disk), options);
    const signing = async () =>
      (await disk.keyStore.list()).filter(({ kind }) => kind === 'signing').length;
    // generate signing key, generate root, sign, and then destroy.
    keys.failAt(4, { once: true });
    assert.equal((await identity.rotate()).sn, 1);
    keys.heal();
    assert.equal(await signing(), 3);
    await Identity.open(await identityDeps(disk));
    assert.equal(await signing(), 2);
  });

  it('leaves no key behind when an attempt fails once', async () => {
    for (let n = 1; n <= 3; n++) {
      const { disk, keys } = failingDisk(`tidy ${n}`);
      const identity = await Identity.create(await identityDeps(disk), options);
      const before = (await disk.keyStore.list()).length;
      keys.failAt(n, { once: true });
      assert.equal(await codeOf(identity.rotate()), 'token gone');
      await identity.rotate();
      const signing = (await disk.keyStore.list()).filter(({ kind }) => kind === 'signing');
      assert.ok(
        signing.length <= 2 + (n === 2 ? 1 : 0),
        `call ${n}: ${signing.length} signing keys`,
      );
      assert.ok((await disk.keyStore.list()).length <= before + 2);
    }
  });

  for (const [index, failure] of FAILURE_NAMES.entries()) {
    it(`inception, ${failure}: reopened, it happened whole or not at all`, async () => {
      let outcomes = new Set<string>();
      for (let n = 1; ; n++) {
        const { disk, failures } = failingDisk(`inception ${index} ${n}`);
        const deps = await identityDeps(disk);
        failures[index]?.arm(n);
        const failed = await codeOf(Identity.create(deps, options));
        failures[index]?.heal();
        const reopened = await identityDeps(disk);
        const code = await codeOf(Identity.open(reopened));
        outcomes = outcomes.add(code ?? 'whole');
        if (code === 'IDENTITY_MISSING') {
          assert.equal(reopened.kel.aids().length, 0);
          await expectWhole(await Identity.create(await identityDeps(disk), options), disk);
        } else {
          assert.equal(code, undefined, `failure ${n}`);
          await expectWhole(await Identity.open(await identityDeps(disk)), disk);
        }
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
      assert.ok(outcomes.has('whole'));
      if (index !== 1) assert.ok(outcomes.has('IDENTITY_MISSING'));
    });

    it(`inception, ${failure}: tried again in the same process, there is one AID`, async () => {
      for (let n = 1; ; n++) {
        const { disk, failures } = failingDisk(`inception again ${index} ${n}`);
        const deps = await identityDeps(disk);
        failures[index]?.arm(n);
        const failed = await codeOf(Identity.create(deps, options));
        failures[index]?.heal();
        if (failed === undefined) break;
        const again = await codeOf(Identity.create(deps, options));
        assert.ok(again === undefined || again === 'IDENTITY_EXISTS', `failure ${n}: ${again}`);
        assert.equal(deps.kel.aids().length, 1);
        await expectWhole(await Identity.open(await identityDeps(disk)), disk);
        assert.ok(n < 30);
      }
    });

    it(`rotation, ${failure}: reopened, it is the old state or the new one`, async () => {
      const seen = new Set<number>();
      for (let n = 1; ; n++) {
        const { disk, failures } = failingDisk(`rotation ${index} ${n}`);
        const identity = await Identity.create(await identityDeps(disk), options);
        const digest = identity.state.nextDigests[0];
        failures[index]?.arm(n);
        const failed = await codeOf(identity.rotate());
        failures[index]?.heal();
        const opened = await Identity.open(await identityDeps(disk));
        seen.add(opened.state.sn);
        if (opened.state.sn === 0) assert.equal(opened.state.nextDigests[0], digest);
        else
          assert.deepEqual(
            opened.state.keys.map((key) => keyDigest(key)),
            [digest],
          );
        await expectWhole(opened, disk);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
      assert.ok(seen.has(1));
    });

    it(`rotation, ${failure}: goes on in the same process as if nothing had been`, async () => {
      for (let n = 1; ; n++) {
        const { disk, failures } = failingDisk(`rotation again ${index} ${n}`);
        const identity = await Identity.create(await identityDeps(disk), options);
        failures[index]?.arm(n);
        const failed = await codeOf(identity.rotate());
        failures[index]?.heal();
        await expectWhole(identity, disk);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });

    it(`interaction, ${failure}: a second try does not contradict the first`, async () => {
      for (let n = 1; ; n++) {
        const { disk, failures } = failingDisk(`anchor ${index} ${n}`);
        const deps = await identityDeps(disk);
        const identity = await Identity.create(deps, options);
        failures[index]?.arm(n);
        const failed = await codeOf(identity.anchor([digestSeal(`E${'B'.repeat(43)}` as Said)]));
        failures[index]?.heal();
        await identity.anchor([digestSeal(`E${'C'.repeat(43)}` as Said)]);
        const { kel } = await identityDeps(disk);
        assert.deepEqual(await kel.duplicities(), []);
        await expectWhole(identity, disk);
        if (failed === undefined) break;
        assert.ok(n < 30);
      }
    });
  }
});
