import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, it } from 'mocha';
import { type AtomicFileSteps, atomicFileSteps } from '#src/files/atomic-file';
import { SealedFileKeyStore } from '#src/keystore/sealed-file';
import type { Rng } from '#src/rng';
import { Secret } from '#src/secret';

const rng: Rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };
const passphrase = new Secret(Buffer.from('correct horse'));
const cheap = { memory: 64, passes: 1, lanes: 1 };
const message = Buffer.from('message');
const steps = ['write', 'sync', 'rename', 'syncDirectory'] as const;

describe('sealed key file', () => {
  const directories: string[] = [];
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-sealed-'));
    directories.push(directory);
    path = join(directory, 'keys');
  });
  after(async () => {
    for (const each of directories) await rm(each, { recursive: true, force: true });
  });

  const create = () => SealedFileKeyStore.create(path, passphrase, rng, cheap);
  const open = () => SealedFileKeyStore.open(path, passphrase, rng);

  it('is readable by its owner alone, whatever stood there, and holds no key in clear', async () => {
    await writeFile(`${path}.tmp`, 'left over');
    await chmod(`${path}.tmp`, 0o666);
    const store = await SealedFileKeyStore.create(
      path,
      passphrase,
      { bytes: (n) => new Uint8Array(n).fill(0xa5) },
      cheap,
    );
    await store.generateSigningKey();
    await store.close();
    assert.equal((await stat(path)).mode & 0o777, 0o600);
    assert.ok(!(await readFile(path)).includes(Buffer.alloc(32, 0xa5)));
    assert.deepEqual(await readdir(directory), ['keys']);
  });

  it('backs up the keys that are named, and no other, into a file that takes its place', async () => {
    const store = await create();
    const { id } = await store.generateSigningKey();
    await store.generateSigningKey();
    const root = await store.generateRoot();
    const backup = join(directory, 'backup');
    const signature = await store.sign(id, message);
    await assert.rejects(store.backUp(['00'.repeat(16) as typeof id], backup), {
      code: 'KEYSTORE_NO_SUCH_KEY',
    });
    await store.backUp([id, root], backup);
    await assert.rejects(store.backUp([root], backup), { code: 'KEYSTORE_EXISTS' });
    assert.equal((await stat(backup)).mode & 0o777, 0o600);
    await store.close();
    await rename(backup, path);
    const restored = await open();
    assert.deepEqual(
      (await restored.list()).map((entry) => entry.id).toSorted(),
      [id, root].toSorted(),
    );
    assert.deepEqual(await restored.sign(id, message), signature);
    await restored.close();
  });

  it('a wrong passphrase is told as such, and changes nothing', async () => {
    await (await create()).close();
    const before = await readFile(path);
    await assert.rejects(SealedFileKeyStore.open(path, new Secret(Buffer.from('wrong')), rng), {
      code: 'KEYSTORE_WRONG_PASSPHRASE',
    });
    assert.deepEqual(await readFile(path), before);
    await (await open()).close();
  });

  it('a damaged or cut file is told as such, wherever the damage is', async () => {
    const store = await create();
    await store.generateRoot();
    await store.close();
    const whole = await readFile(path);
    const positions = [0, 10, 22, 25, 29, 33, 40, 60, whole.length >> 1, whole.length - 1];
    for (const at of positions) {
      const damaged = Buffer.from(whole);
      damaged[at] = (damaged[at] as number) ^ 1;
      await writeFile(path, damaged);
      await assert.rejects(open(), { code: 'KEYSTORE_CORRUPT' });
      await writeFile(path, whole.subarray(0, at));
      await assert.rejects(open(), { code: 'KEYSTORE_CORRUPT' });
    }
    await writeFile(path, Buffer.concat([whole, Buffer.of(0)]));
    await assert.rejects(open(), { code: 'KEYSTORE_CORRUPT' });
    await writeFile(path, Buffer.alloc(1 << 20));
    await assert.rejects(open(), { code: 'KEYSTORE_CORRUPT', message: /got 1048576/ });
    assert.deepEqual(await readdir(directory), ['keys'], 'no lock is left behind');
  });

  it('neither creates over a file nor opens what is not there', async () => {
    await assert.rejects(open(), { code: 'KEYSTORE_NOT_FOUND' });
    await (await create()).close();
    await assert.rejects(create(), { code: 'KEYSTORE_EXISTS' });
    await assert.rejects(
      SealedFileKeyStore.create(join(directory, 'none', 'keys'), passphrase, rng, cheap),
      {
        code: 'KEYSTORE_IO',
      },
    );
  });

  it('refuses an empty passphrase and costs out of bounds', async () => {
    const bad = { code: 'KEYSTORE_BAD_LENGTH' };
    await assert.rejects(
      SealedFileKeyStore.create(path, new Secret(new Uint8Array(0)), rng, cheap),
      bad,
    );
    for (const cost of [
      { memory: 7 },
      { memory: 2 ** 22 },
      { passes: 0 },
      { passes: 65 },
      { lanes: 0 },
      { lanes: 17 },
    ]) {
      await assert.rejects(
        SealedFileKeyStore.create(path, passphrase, rng, { ...cheap, ...cost }),
        bad,
      );
    }
    assert.deepEqual(await readdir(directory), []);
  });

  it('is open once at a time', async () => {
    const store = await create();
    await assert.rejects(open(), {
      code: 'KEYSTORE_LOCKED',
      message: new RegExp(`process ${process.pid}`),
    });
    await store.close();
    await (await open()).close();
  });

  for (const failing of steps) {
    it(`a write that fails at "${failing}" is reported, and the store works on`, async () => {
      let broken = false;
      const faulty: AtomicFileSteps = {
        ...atomicFileSteps,
        [failing]: async (...args: [string, string & Uint8Array]) => {
          if (broken) throw new Error('no space left on device');
          await (atomicFileSteps[failing] as (...args: unknown[]) => Promise<void>)(...args);
        },
      };
      const store = await SealedFileKeyStore.create(path, passphrase, rng, cheap, faulty);
      const key = await store.generateSigningKey();
      broken = true;
      await assert.rejects(store.generateRoot(), { code: 'KEYSTORE_IO' });
      await assert.rejects(store.destroy(key.id), { code: 'KEYSTORE_IO' });
      assert.equal((await store.sign(key.id, message)).length, 64);
      assert.equal((await store.list()).length, 1);
      broken = false;
      const root = await store.generateRoot();
      await store.close();
      const again = await open();
      assert.deepEqual((await again.list()).map(({ id }) => id).sort(), [key.id, root].sort());
      await again.close();
    });
  }

  for (const [at, dying] of steps.entries()) {
    it(`a process killed before "${dying}" leaves the old keys or the new, and a lock that does not hold`, async () => {
      const store = await create();
      const key = await store.generateSigningKey();
      await store.close();
      assert.equal(await runKilledAt(path, dying), 'SIGKILL');
      const again = await open();
      const entries = await again.list();
      assert.deepEqual(await again.signingKey(key.id), key);
      // The rename is the moment at which the new content counts.
      assert.equal(entries.length, at <= steps.indexOf('rename') ? 1 : 2);
      await again.generateRoot();
      await again.close();
      assert.deepEqual(await readdir(directory), ['keys']);
    });
  }

  it('a process killed in the middle of a write leaves the old keys', async () => {
    const store = await create();
    const key = await store.generateSigningKey();
    await store.close();
    await writeFile(`${path}.tmp`, (await readFile(path)).subarray(0, 50));
    const again = await open();
    assert.deepEqual(await again.list(), [{ id: key.id, kind: 'signing', algorithm: 'ed25519' }]);
    await again.close();
  });
});

/** Opens the store in another process that kills itself before a step of its first write. */
async function runKilledAt(path: string, step: string): Promise<string | null> {
  const program = `
    import { randomBytes } from 'node:crypto';
    import { atomicFileSteps } from '#src/files/atomic-file';
    import { SealedFileKeyStore } from '#src/keystore/sealed-file';
    import { Secret } from '#src/secret';
    const die = { ${step}() { process.kill(process.pid, 'SIGKILL'); return new Promise(() => undefined); } };
    const rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };
    const passphrase = new Secret(Buffer.from('correct horse'));
    const store = await SealedFileKeyStore.open(${JSON.stringify(path)}, passphrase, rng, { ...atomicFileSteps, ...die });
    await store.generateRoot();
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], {
    cwd: new URL('../../../..', import.meta.url),
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  return new Promise((resolve) => child.on('exit', (_, signal) => resolve(signal)));
}
