/** Who else can change what names a program that runs as root, or holds keys and logs. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { ensureTrustedDirectory, expectTrusted, expectTrustedPlace } from '#src/files/trust';
import { cliError, cliJson } from '../../../support/machines/cli.ts';
import { skip } from '../../../support/skip.ts';

const STRANGER = 12_345;
const isRoot = process.geteuid?.() === 0;
const exposed = { code: 'FILE_OTHERS_CAN_WRITE' };

describe('what must be trusted, where others can write', () => {
  let dir: string;
  let folder: string;
  let file: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-trust-'));
    folder = join(dir, 'folder');
    file = join(folder, 'file');
    mkdirSync(folder, { mode: 0o755 });
    writeFileSync(file, '', { mode: 0o644 });
  });
  afterEach(() => rmSync(dir, { recursive: true, force: true }));

  it('a file and its directory pass for every mode in which only the owner writes, and for no other', () => {
    for (let mode = 0o400; mode <= 0o777; mode++) {
      chmodSync(file, mode);
      if ((mode & 0o022) === 0) expectTrusted(file);
      else assert.throws(() => expectTrusted(file), exposed, mode.toString(8));
    }
    chmodSync(file, 0o644);
    for (let mode = 0o700; mode <= 0o777; mode++) {
      chmodSync(folder, mode);
      const paths = [
        () => expectTrusted(file),
        () => expectTrustedPlace(folder),
        () => ensureTrustedDirectory(folder),
      ];
      for (const check of paths)
        if ((mode & 0o022) === 0) check();
        else
          assert.throws(check, {
            ...exposed,
            message: new RegExp(`folder has mode ${mode.toString(8)}`),
          });
    }
  });

  it('in a sticky directory a file that is there stays its owner’s, and what is made in it is anybody’s', () => {
    chmodSync(folder, 0o1777);
    expectTrusted(file);
    expectTrustedPlace(folder);
    assert.throws(() => ensureTrustedDirectory(folder), exposed);
    ensureTrustedDirectory(join(folder, 'new'));
  });

  it('any directory above counts, and so does where a link leads', () => {
    const deep = join(folder, 'a', 'b');
    ensureTrustedDirectory(deep);
    const link = join(dir, 'link');
    symlinkSync(deep, link);
    ensureTrustedDirectory(link);
    chmodSync(folder, 0o777);
    for (const path of [deep, link]) assert.throws(() => ensureTrustedDirectory(path), exposed);
  });

  it('another owner of the file, of its directory or of one above is refused', function () {
    if (!isRoot) skip(this, 'only root can give files away');
    for (const path of [file, folder, dir]) {
      chownSync(path, STRANGER, STRANGER);
      assert.throws(() => expectTrusted(file), { ...exposed, message: /belongs to user 12345/ });
      chownSync(path, 0, 0);
    }
    expectTrusted(file);
  });

  it('on a read-only mount nobody writes, whatever the mode: orchestrators mount configuration so', function () {
    if (!isRoot) skip(this, 'needs a mount namespace');
    chmodSync(folder, 0o777);
    const program = `import('#src/files/trust').then(({ expectTrusted }) => expectTrusted(process.argv[1]))`;
    const script = `mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$1" --eval "$2" "$0/file"`;
    execFileSync('unshare', ['-m', 'sh', '-c', script, folder, process.execPath, program], {
      cwd: new URL('../../../..', import.meta.url),
    });
  });

  describe('at the commands', () => {
    let config: string;
    let common: readonly string[];
    const state = () => join(dir, 'state');

    beforeEach(async function () {
      this.timeout(30_000);
      config = join(dir, 'kelmesh.toml');
      writeFileSync(config, 'name = "alba"\nstate = "state"\n[keystore]\nsecret-file = "secret"\n');
      common = ['--config', config];
      await cliJson('init', '--generate-secret', ...common);
    });

    it('a configuration, a program or module that it names, a state directory, a secret, a CA: refused with the cure', async () => {
      const program = join(folder, 'program');
      writeFileSync(program, '', { mode: 0o777 });
      chmodSync(program, 0o755);
      writeFileSync(
        config,
        `name = "alba"\nstate = "state"\n[keystore]\nsecret-file = "secret"\nmodule = "${program}"\n[tunnel]\nprogram = "${program}"\n`,
      );
      await cliJson('id', 'show', ...common);
      await cliJson('ca', 'list', ...common).catch(() => undefined);
      mkdirSync(join(state(), 'ca'));
      for (const [path, mode, command] of [
        [config, 0o666, ['id', 'show']],
        [config, 0o664, ['config', 'check']],
        [dir, 0o777, ['config', 'check']],
        [program, 0o777, ['config', 'check']],
        [program, 0o775, ['id', 'show']],
        [state(), 0o777, ['id', 'show']],
        [state(), 0o770, ['id', 'rotate', '--yes']],
        [state(), 0o1777, ['up']],
        [join(state(), 'ca'), 0o777, ['ca', 'trust', config]],
      ] as const) {
        chmodSync(path, mode);
        const { exit, code, message, hint } = await cliError(...command, ...common);
        assert.deepEqual([exit, code], [1, 'FILE_OTHERS_CAN_WRITE'], `${path} ${mode.toString(8)}`);
        assert.ok(message.startsWith(`${path} `), message);
        assert.match(hint, /chmod go-w/);
        chmodSync(
          path,
          path === program || path === dir ? 0o755 : path.endsWith('toml') ? 0o644 : 0o700,
        );
      }
      await cliJson('id', 'show', ...common);
    });

    it('a secret that belongs to another user is one that he reads', async function () {
      if (!isRoot) skip(this, 'only root can give files away');
      chownSync(join(dir, 'secret'), STRANGER, STRANGER);
      const { code, message } = await cliError('id', 'show', ...common);
      assert.equal(code, 'CONFIG_SECRET_EXPOSED');
      assert.match(message, /belongs to user 12345/);
    });
  });
});
