import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { readFormat } from '#agent/organisation/state/format';
import { expectWhole, readFormer } from '#agent/organisation/state/former-state';
import { ensureFormat, whileLocked } from '#agent/organisation/state/take-over';
import {
  Crash,
  crashingSteps,
  MARK,
  namesIn,
  takeOverDeps,
  versionsIn,
  writeState,
} from '../../../../support/kit/state-dirs.ts';

const all = (version: string) => Array(8).fill(version);

describe('taking over a state directory', () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'kelmesh-state-'));
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  it('marks a new one with its format, and has nothing to take over', async () => {
    assert.equal(await ensureFormat(takeOverDeps(stateDir)), undefined);
    assert.deepEqual(readFormat(stateDir), { format: 2 });
    assert.deepEqual(namesIn(stateDir), ['format']);
  });

  it('leaves what it found in a backup, whole, and touches it no more', async () => {
    writeState(stateDir, 'old');
    const taken = await ensureFormat(takeOverDeps(stateDir));
    assert.deepEqual(taken, {
      format: 2,
      takenOver: { from: 1, at: '2026-01-01T00:00:00.000Z' },
    });
    assert.deepEqual(readFormat(stateDir), taken);
    assert.deepEqual(versionsIn(stateDir), all('old'));
    assert.deepEqual(versionsIn(stateDir, 'former'), all('old'));
    const former = readFormer(stateDir);
    assert.ok(former);
    assert.deepEqual(former.mark, MARK);
    await expectWhole(stateDir, former);
    assert.deepEqual(
      namesIn(stateDir),
      ['audit', 'format', 'former', 'keys.sealed', 'secret', 'store'],
      'no lock, nothing half',
    );
    for (const secret of ['secret', 'store/LOCK'])
      assert.ok(!existsSync(join(stateDir, 'former', secret)), secret);
    assert.equal(await ensureFormat(takeOverDeps(stateDir)), undefined, 'once');
  });

  it('takes no room for what is never changed, and copies the rest', async () => {
    writeState(stateDir, 'old');
    await ensureFormat(takeOverDeps(stateDir));
    const inodes = (path: string) =>
      ['', 'former'].map((folder) => statSync(join(stateDir, folder, path)).ino);
    for (const path of ['store/000005.ldb', 'audit/tile/0/000'])
      assert.equal(new Set(inodes(path)).size, 1, path);
    for (const path of ['store/000006.log', 'audit/tail', 'keys.sealed'])
      assert.equal(new Set(inodes(path)).size, 2, path);
  });

  it('copies everything where a file can have one name only', async () => {
    writeState(stateDir, 'old');
    const { steps, ...deps } = takeOverDeps(stateDir);
    const link = () => Promise.reject(Object.assign(new Error('no'), { code: 'EPERM' }));
    await ensureFormat({ ...deps, steps: { ...steps, link } });
    assert.deepEqual(versionsIn(stateDir, 'former'), all('old'));
    await expectWhole(stateDir, readFormer(stateDir) as NonNullable<ReturnType<typeof readFormer>>);
  });

  it('is refused where there is no room, before anything is copied', async () => {
    writeState(stateDir, 'old');
    const space = { path: stateDir, totalBytes: 2 ** 30, freeFiles: undefined };
    for (const room of [
      { ...space, freeBytes: 17 * 2 ** 20 - 2 ** 20 },
      { ...space, freeBytes: 2 ** 29, freeFiles: 3 },
    ])
      await assert.rejects(ensureFormat(takeOverDeps(stateDir, { disk: () => room })), {
        code: 'FILE_NO_SPACE',
      });
    assert.deepEqual(readFormat(stateDir), { format: 1 });
    assert.ok(!existsSync(join(stateDir, 'former')));
  });

  it('is refused while another process takes over, or writes', async () => {
    writeState(stateDir, 'old');
    await whileLocked(stateDir, () =>
      assert.rejects(ensureFormat(takeOverDeps(stateDir)), { code: 'CONTROL_STATE_LOCKED' }),
    );
    const { steps, ...deps } = takeOverDeps(stateDir);
    const copy = async (from: string, to: string) => {
      await steps.copy(from, to);
      writeFileSync(join(stateDir, 'audit/tail'), 'one entry more than there was');
    };
    await assert.rejects(ensureFormat({ ...deps, steps: { ...steps, copy } }), {
      code: 'CONTROL_STATE_LOCKED',
    });
    assert.deepEqual(readFormat(stateDir), { format: 1 });
  });

  it('of a newer version is refused with both numbers, and nothing is touched', async () => {
    writeState(stateDir, 'newer');
    writeFileSync(join(stateDir, 'format'), 'kelmesh-state 3\nwhatever it says then\n');
    await assert.rejects(ensureFormat(takeOverDeps(stateDir)), {
      code: 'CONTROL_STATE_NEWER',
      message: /format 3.*up to 2/,
    });
    assert.ok(!existsSync(join(stateDir, 'former')));
  });

  for (const how of ['before', 'within', 'after'] as const)
    it(`is done or not when the process ends ${how} any step, and the next start finishes it`, async () => {
      let crashes = 0;
      for (let at = 0; ; at++) {
        rmSync(stateDir, { recursive: true, force: true });
        writeState(stateDir, 'old');
        const { steps, counted } = crashingSteps(at, how);
        const deps = takeOverDeps(stateDir, { steps });
        const outcome = await ensureFormat(deps).catch((error: unknown) => error);
        if (counted.crashed === undefined) break;
        crashes += 1;
        assert.ok(outcome instanceof Crash, counted.crashed);
        assert.deepEqual(versionsIn(stateDir), all('old'), counted.crashed);
        const isTaken = readFormat(stateDir)?.format === 2;
        const former = readFormer(stateDir);
        if (isTaken) assert.ok(former, counted.crashed);
        if (former !== undefined) await expectWhole(stateDir, former);
        // Not taken over: the earlier version may go on.
        if (!isTaken) writeState(stateDir, 'older');
        await ensureFormat(takeOverDeps(stateDir));
        const version = isTaken ? 'old' : 'older';
        assert.deepEqual(versionsIn(stateDir, 'former'), all(version), counted.crashed);
        assert.deepEqual(
          namesIn(stateDir).filter((name) => /tmp|lock|replaced|restoring/.test(name)),
          [],
          counted.crashed,
        );
      }
      assert.ok(crashes > 20, `${crashes}`);
    });
});
