import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { readFormat } from '#agent/organisation/state/format';
import type { StateMark } from '#agent/organisation/state/mark';
import { RESTORING, restoreFormer } from '#agent/organisation/state/restore';
import { ensureFormat } from '#agent/organisation/state/take-over';
import type { Said } from '#kel/identifiers';
import type { Database } from '#src/store/durable-table';
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
const said = (letter: string) => `E${letter.repeat(43)}` as Said;

describe('the way back to what an earlier version left', () => {
  let stateDir: string;
  beforeEach(() => {
    stateDir = mkdtempSync(join(tmpdir(), 'kelmesh-state-'));
  });
  afterEach(() => rmSync(stateDir, { recursive: true, force: true }));

  /** Taken over; then the new version has written to its database and keys, and signed nothing. */
  async function takenOver(): Promise<void> {
    rmSync(stateDir, { recursive: true, force: true });
    writeState(stateDir, 'old');
    await ensureFormat(takeOverDeps(stateDir));
    for (const path of ['store/000006.log', 'store/000007.log', 'keys.sealed', 'audit/own-event'])
      writeFileSync(join(stateDir, path), `new ${path}`);
  }

  it('puts everything back, and leaves nothing of the newer version', async () => {
    await takenOver();
    const former = await restoreFormer(takeOverDeps(stateDir));
    assert.equal(former.format, 1);
    assert.deepEqual(versionsIn(stateDir), all('old'));
    assert.deepEqual(namesIn(stateDir), ['audit', 'keys.sealed', 'secret', 'store']);
    assert.ok(!existsSync(join(stateDir, 'audit/own-event')));
    assert.ok(!existsSync(join(stateDir, 'store/000007.log')));
    assert.deepEqual(readFormat(stateDir), { format: 1 });
    assert.equal((await ensureFormat(takeOverDeps(stateDir)))?.format, 2, 'and forward again');
  });

  const [head, pending] = [{ ...MARK.head, sn: 4, said: said('c') }, said('d')];
  const signed: readonly [string, Partial<StateMark>, RegExp][] = [
    ['an own event', { head: head as StateMark['head'] }, /event 4 of the own log/],
    ['an own event that waits', { pending }, /was signed since and waits/],
    ['a receipt', { receipted: [said('e')] }, /receipted as a witness since/],
  ];
  for (const [what, change, words] of signed)
    it(`is closed by ${what} since, in words`, async () => {
      await takenOver();
      await assert.rejects(
        restoreFormer(takeOverDeps(stateDir, { mark: () => ({ ...MARK, ...change }) })),
        { code: 'CONTROL_STATE_NO_WAY_BACK', message: words },
      );
      assert.deepEqual(versionsIn(stateDir, 'former'), all('old'));
      assert.ok(existsSync(join(stateDir, 'store/000007.log')));
    });

  for (const path of ['audit/tail', 'audit/tile/0/001', 'audit/checkpoint'])
    it(`is closed by an entry of the audit log since: ${path}`, async () => {
      await takenOver();
      writeFileSync(join(stateDir, path), 'more');
      await assert.rejects(restoreFormer(takeOverDeps(stateDir)), {
        code: 'CONTROL_STATE_NO_WAY_BACK',
        message: new RegExp(path),
      });
    });

  it('is closed without a backup, by a backup that is not whole, and while an agent runs', async () => {
    writeState(stateDir, 'old');
    const code = 'CONTROL_STATE_NO_WAY_BACK';
    await assert.rejects(restoreFormer(takeOverDeps(stateDir)), { code });
    for (const path of ['keys.sealed', 'store/000005.ldb', 'contents.json']) {
      await takenOver();
      writeFileSync(join(stateDir, 'former', path), 'torn');
      await assert.rejects(restoreFormer(takeOverDeps(stateDir)), {
        code: 'CONTROL_STATE_DAMAGED',
        message: new RegExp(path),
      });
    }
    await takenOver();
    const openDatabase = () => Promise.reject(new Error('open in another process'));
    await assert.rejects(restoreFormer(takeOverDeps(stateDir, { openDatabase })));
    assert.equal(readFormat(stateDir)?.format, 2);
  });

  it('holds the database until it is out of the way', async () => {
    await takenOver();
    let isOpen = true;
    const close = async () => {
      isOpen = false;
      assert.ok(!existsSync(join(stateDir, 'store')));
      assert.ok(existsSync(join(stateDir, RESTORING)));
    };
    const openDatabase = async () => ({ close }) as unknown as Database;
    await restoreFormer(takeOverDeps(stateDir, { openDatabase }));
    assert.equal(isOpen, false);
  });

  for (const how of ['before', 'within', 'after'] as const)
    it(`is gone or not when the process ends ${how} any step, an earlier version never sees half of it, and the next start finishes it`, async () => {
      let crashes = 0;
      for (let at = 0; ; at++) {
        await takenOver();
        const { steps, counted } = crashingSteps(at, how);
        const outcome = await restoreFormer(takeOverDeps(stateDir, { steps })).catch(
          (error: unknown) => error,
        );
        if (counted.crashed === undefined) break;
        crashes += 1;
        assert.ok(outcome instanceof Crash, counted.crashed);
        if (existsSync(join(stateDir, 'store'))) {
          // What an earlier version would start with.
          const isBack = !existsSync(join(stateDir, 'store/000007.log'));
          if (isBack) assert.deepEqual(versionsIn(stateDir), all('old'), counted.crashed);
          else assert.ok(existsSync(join(stateDir, 'format')), counted.crashed);
        }
        const taken = await ensureFormat(takeOverDeps(stateDir));
        const isStill = existsSync(join(stateDir, 'store/000007.log'));
        // Not begun, or finished and taken over once more.
        if (isStill) assert.equal(taken, undefined, counted.crashed);
        else assert.deepEqual(versionsIn(stateDir), all('old'), counted.crashed);
        assert.deepEqual(versionsIn(stateDir, 'former'), all('old'), counted.crashed);
        assert.deepEqual(
          namesIn(stateDir).filter((name) => /tmp|lock|replaced|restoring/.test(name)),
          [],
          counted.crashed,
        );
      }
      assert.ok(crashes > 10, `${crashes}`);
    });
});
