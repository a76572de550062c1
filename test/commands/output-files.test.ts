/** Every command that writes a file which the operator names, where others have prepared the place. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('kelmesh, writing files where others can write', () => {
  let dir: string;
  let place: string;
  let common: readonly string[];

  before(async function () {
    this.timeout(60_000);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-output-'));
    place = join(dir, 'place');
    mkdirSync(place);
    chmodSync(place, 0o1777);
    common = ['--config', await initAtRest(dir)];
    await cliJson('mesh', 'create', 'highlands', ...common);
  });

  after(() => rm(dir, { recursive: true, force: true }));

  const outputs: Readonly<
    Record<string, { readonly args: readonly string[]; readonly mode: number }>
  > = {
    'audit export': { args: ['audit', 'export', '--out'], mode: 0o600 },
    'id export': { args: ['id', 'export', '--out'], mode: 0o644 },
  };

  for (const [name, { args, mode }] of Object.entries(outputs)) {
    it(`${name} replaces a link and not what it points to, and takes over no file of another user`, async () => {
      const [victim, out] = [join(dir, 'victim'), join(place, `${args[0]}.out`)];
      writeFileSync(victim, 'of somebody else');
      for (const suffix of ['', '.part', '.tmp']) symlinkSync(victim, `${out}${suffix}`);
      await cliJson(...args, out, ...common);
      assert.equal(readFileSync(victim, 'utf8'), 'of somebody else');
      assert.ok(lstatSync(out).isFile());
      rmSync(out);
      writeFileSync(out, 'prepared');
      chmodSync(out, 0o666);
      const { ino } = statSync(out);
      await cliJson(...args, out, ...common);
      assert.notEqual(statSync(out).ino, ino);
      assert.equal(statSync(out).mode & 0o777 & ~process.umask(), mode & ~process.umask());
      const left = readdirSync(place).filter((file) => file.startsWith('.'));
      assert.deepEqual(left, []);
      for (const suffix of ['.part', '.tmp']) rmSync(`${out}${suffix}`);
    });

    it(`${name} replaces no pipe, and does not wait for its reader`, async () => {
      const pipe = join(dir, `${args[0]}.pipe`);
      execFileSync('mkfifo', [pipe]);
      const { exit, code } = await cliError(...args, pipe, ...common);
      assert.deepEqual([exit, code], [1, 'FILE_IN_THE_WAY']);
      assert.ok(statSync(pipe).isFIFO());
    });
  }

  it('id backup refuses a directory in which others could put another backup in its place', async () => {
    const open = join(dir, 'open');
    mkdirSync(open);
    chmodSync(open, 0o777);
    const { code, message } = await cliError('id', 'backup', join(open, 'keys'), ...common);
    assert.equal(code, 'FILE_OTHERS_CAN_WRITE');
    assert.ok(message.includes(open), message);
    assert.deepEqual(readdirSync(open), []);
    chmodSync(open, 0o755);
    await cliJson('id', 'backup', join(open, 'keys'), ...common);
    assert.equal(statSync(join(open, 'keys')).mode & 0o777, 0o600);
  });

  it('init writes neither configuration nor secret where others can write, and leaves nothing', async () => {
    const open = join(dir, 'for all');
    mkdirSync(open);
    chmodSync(open, 0o777);
    const config = join(open, 'kelmesh.toml');
    const state = join(dir, 'new');
    const { code } = await cliError(
      'init',
      '--name',
      'new',
      '--state',
      state,
      '--generate-secret',
      '--config',
      config,
    );
    assert.equal(code, 'FILE_OTHERS_CAN_WRITE');
    assert.deepEqual(readdirSync(open), []);
    chmodSync(open, 0o755);
    assert.equal(
      (
        await cli(
          'init',
          '--name',
          'new',
          '--state',
          state,
          '--generate-secret',
          '--config',
          config,
        )
      ).code,
      0,
    );
  });
});
