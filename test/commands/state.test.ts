/** The state directory of an earlier version, command by command, with a real database; `both-releases.test.ts` has the earlier version itself. */
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

const OTHER = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM';

describe('the state directory of an earlier version', function () {
  this.timeout(60_000);
  let dir: string;
  let state: string;
  let config: readonly string[];
  let former: readonly string[];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-former-'));
    config = ['--config', await initAtRest(dir)];
    state = join(dir, 'state');
    // What was there before there were formats.
    rmSync(join(state, 'format'));
    former = readdirSync(state).sort();
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const show = () => cliJson('state', 'show', ...config);

  it('is shown as it is, and looking changes nothing', async () => {
    const { format, newest, takenOver, backup, wayBack } = await show();
    assert.deepEqual(
      [format, newest, takenOver, backup, wayBack.isOpen],
      [1, 2, null, null, false],
    );
    assert.deepEqual(readdirSync(state).sort(), former);
  });

  it('is taken over by the first command that opens it, which says so', async () => {
    const { code, stderr } = await cli('id', 'show', ...config);
    assert.equal(code, 0);
    assert.match(stderr, /"event":"state.taken-over","from":1,"format":2/);
    const { format, takenOver, backup, wayBack } = await show();
    assert.deepEqual([format, takenOver.from, backup.format, wayBack.isOpen], [2, 1, 1, true]);
    assert.doesNotMatch((await cli('id', 'show', ...config)).stderr, /taken-over/);
  });

  it('comes back by command, and is taken over by command', async () => {
    const { sn, said } = await cliJson('id', 'show', ...config);
    assert.equal((await cliJson('state', 'restore', '--yes', ...config)).format, 1);
    assert.deepEqual(readdirSync(state).sort(), former);
    assert.equal((await cliJson('state', 'take-over', ...config)).wayBack.isOpen, true);
    const { sn: sameSn, said: sameSaid } = await cliJson('id', 'show', ...config);
    assert.deepEqual([sameSn, sameSaid], [sn, said]);
  });

  it('is whole again, whatever was written meanwhile that nobody has heard of', async () => {
    const watched = async () => JSON.stringify(await cliJson('watch', 'list', ...config));
    await cliJson('watch', 'add', OTHER, '--members', ...config);
    assert.match(await watched(), new RegExp(OTHER));
    assert.equal((await cliJson('state', 'restore', '--yes', ...config)).format, 1);
    assert.doesNotMatch(await watched(), new RegExp(OTHER));
  });

  it('with a damaged backup keeps nobody from working, and gives no way back', async () => {
    const contents = join(state, 'former/contents.json');
    const whole = readFileSync(contents);
    writeFileSync(contents, '{');
    const { code, stderr } = await cli('id', 'show', ...config);
    assert.equal(code, 0, stderr);
    assert.match(stderr, /"event":"state.failed"/);
    assert.equal(
      (await cliError('state', 'restore', '--yes', ...config)).code,
      'CONTROL_STATE_DAMAGED',
    );
    writeFileSync(contents, whole);
  });

  it('has no way back after the first own event, and no copy of retired keys', async () => {
    await cliJson('id', 'rotate', '--yes', ...config);
    assert.ok(!existsSync(join(state, 'former')));
    const { takenOver, backup, wayBack } = await show();
    assert.deepEqual([takenOver.from, backup, wayBack.isOpen], [1, null, false]);
    const { exit, code, hint } = await cliError('state', 'restore', '--yes', ...config);
    assert.deepEqual([exit, code], [1, 'CONTROL_STATE_NO_WAY_BACK']);
    assert.match(hint, /Stay with this version/);
  });

  it('of a newer version is refused by every command, with both numbers, and stays as it is', async () => {
    const newer = 'kelmesh-state 3\nwhat is not known yet\n';
    writeFileSync(join(state, 'format'), newer);
    for (const words of [
      ['id', 'show'],
      ['id', 'rotate', '--yes'],
      ['state', 'show'],
      ['state', 'take-over'],
    ]) {
      const { exit, code, message } = await cliError(...words, ...config);
      assert.deepEqual([exit, code], [1, 'CONTROL_STATE_NEWER'], words.join(' '));
      assert.match(message, /format 3.*up to 2/);
    }
    assert.equal(readFileSync(join(state, 'format'), 'utf8'), newer);
  });
});
