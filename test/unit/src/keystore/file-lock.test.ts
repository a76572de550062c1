import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { FileLock } from '#src/keystore/file-lock';

describe('FileLock', () => {
  let directory: string;
  let path: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-lock-'));
    path = join(directory, 'lock');
  });
  afterEach(() => rm(directory, { recursive: true }));

  it('is held by one, and free again after release', async () => {
    const lock = await FileLock.acquire(path);
    await assert.rejects(FileLock.acquire(path), { code: 'KEYSTORE_LOCKED' });
    await lock.release();
    await (await FileLock.acquire(path)).release();
    assert.deepEqual(await readdir(directory), []);
  });

  it('is never held by two, however many ask at once', async () => {
    for (let round = 0; round < 10; round++) {
      const results = await Promise.allSettled(
        Array.from({ length: 8 }, () => FileLock.acquire(path)),
      );
      const held = results.flatMap((result) =>
        result.status === 'fulfilled' ? [result.value] : [],
      );
      assert.ok(held.length <= 1);
      assert.equal((await readdir(directory)).length, held.length);
      await held[0]?.release();
    }
  });

  it('takes over from a process that is gone, or whose id is another process now', async () => {
    const own = await FileLock.acquire(path);
    const name = (await readdir(directory))[0] as string;
    await own.release();
    const [, pid, start, boot] = name.split('.');
    const nonce = '0011223344556677';
    for (const stale of [
      `lock.999999999.${start}.${boot}.${nonce}`,
      `lock.${pid}.${Number(start) + 1}.${boot}.${nonce}`,
      `lock.${pid}.${start}.00000000-0000-0000-0000-000000000000.${nonce}`,
    ]) {
      await writeFile(join(directory, stale), '');
      await (await FileLock.acquire(path)).release();
      assert.deepEqual(await readdir(directory), []);
    }
    await writeFile(join(directory, `lock.${pid}.${start}.${boot}.${nonce}`), '');
    await assert.rejects(FileLock.acquire(path), { code: 'KEYSTORE_LOCKED' });
  });

  it('leaves files of other names alone', async () => {
    const others = [
      'lock',
      'lock.nonsense',
      'other.999999999.1.00000000-0000-0000-0000-000000000000.0011223344556677',
    ];
    for (const name of others) await writeFile(join(directory, name), '');
    await (await FileLock.acquire(path)).release();
    assert.deepEqual(await readdir(directory), others);
  });
});
