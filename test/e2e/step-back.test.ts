/** docs/recovery.md, "One store was put back alone": the commands of an operator, on real files. */
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'mocha';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('one store was put back alone', function () {
  this.timeout(60_000);
  let dir: string;
  let config: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-back-'));
    config = join(dir, 'kelmesh.toml');
  });

  after(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  const at = (...args: readonly string[]) => [...args, '--config', config];
  const copy = (from: string, to: string) => {
    rmSync(join(dir, to), { recursive: true, force: true });
    cpSync(join(dir, from), join(dir, to), { recursive: true });
  };

  /** A fresh organisation; `old` holds what it was before it founded a mesh and anchored its audit log. */
  beforeEach(async () => {
    rmSync(join(dir, 'state'), { recursive: true, force: true });
    rmSync(join(dir, 'secret'), { force: true });
    await initAtRest(dir);
    copy('state', 'old');
    await cliJson(...at('mesh', 'create', 'm'));
    await cliJson(...at('audit', 'export', '--out', join(dir, 'evidence.kmb')));
  });

  it('the event store: nothing is sealed on top of it before the operator has confirmed', async () => {
    copy('old/store', 'state/store');
    const { stepBack, sn } = await cliJson(...at('id', 'show'));
    assert.match(stepBack, /was made here and is not in it/);
    for (const command of [
      ['mesh', 'create', 'other'],
      ['id', 'rotate', '--yes'],
      ['audit', 'export', '--out', join(dir, 'second.kmb')],
    ]) {
      const refused = await cliError(...at(...command));
      assert.deepEqual([refused.exit, refused.code], [1, 'IDENTITY_AWAITS_CONFIRMATION']);
      assert.match(refused.hint, /kelmesh id confirm/);
    }
    assert.equal((await cliJson(...at('id', 'show'))).sn, sn);
    const confirmed = await cliJson(...at('id', 'confirm', '--yes'));
    assert.deepEqual([confirmed.sn, confirmed.against], [sn, stepBack]);
    await cliJson(...at('mesh', 'create', 'other'));
    const shown = await cliJson(...at('id', 'show'));
    assert.ok(shown.sn > sn);
    assert.equal(shown.stepBack, null);
  });

  it('the event store: the log that a member holds brings it level', async () => {
    await cliJson(...at('id', 'export', '--out', join(dir, 'own.cesr')));
    const { said } = await cliJson(...at('id', 'show'));
    copy('old/store', 'state/store');
    await cliJson(...at('id', 'import', join(dir, 'own.cesr')));
    const shown = await cliJson(...at('id', 'show'));
    assert.deepEqual([shown.said, shown.stepBack, shown.foreignEvents], [said, null, false]);
    await cliJson(...at('id', 'rotate', '--yes'));
  });

  it('the audit log: nothing opens, and confirmed it goes on', async () => {
    await cliJson(...at('id', 'rotate', '--yes'));
    await cliJson(...at('audit', 'export', '--out', join(dir, 'second.kmb')));
    copy('old/audit', 'state/audit');
    const refused = await cliError(...at('id', 'show'));
    assert.deepEqual([refused.exit, refused.code], [1, 'AUDIT_ROLLBACK']);
    assert.match(refused.hint, /put the newest one back/);
    assert.equal((await cli(...at('id', 'confirm', '--yes'))).code, 0);
    await cliJson(...at('audit', 'export', '--out', join(dir, 'third.kmb')));
    // What the log of events had committed to is gone, and the evidence says so.
    const audited = await cli('audit', 'verify', join(dir, 'third.kmb'), '--json');
    assert.equal(audited.code, 1);
    assert.ok(audited.stdout.includes('BUNDLE_ANCHOR'));
  });
});
