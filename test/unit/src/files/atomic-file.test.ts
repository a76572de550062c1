import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import {
  chmod,
  chown,
  link,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { atomicFileSteps, PUBLIC, replaceFile, writeOutput } from '#src/files/atomic-file';
import { openForAppend, openForAppendSync } from '#src/files/log-file';

const bytes = Buffer.from('new content');
const isRoot = process.geteuid?.() === 0;
/** Any user but the one who runs the test. */
const STRANGER = 12_345;

/** Each way in which the program writes a whole file. */
const writers = {
  replaceFile: (path: string) => replaceFile(path, bytes),
  writeOutput: (path: string) => writeOutput(path, bytes),
};

describe('files that the program writes', () => {
  let directory: string;
  let path: string;
  let victim: string;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-files-'));
    path = join(directory, 'file');
    victim = join(directory, 'victim');
    await writeFile(victim, 'of somebody else');
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  for (const [name, write] of Object.entries(writers)) {
    for (const prepared of ['file', 'file.tmp']) {
      it(`${name} follows no link that was prepared as ${prepared}, and what it points to stays`, async () => {
        await symlink(victim, join(directory, prepared));
        await write(path);
        assert.equal(await readFile(victim, 'utf8'), 'of somebody else');
        assert.ok((await lstat(path)).isFile());
        assert.deepEqual(await readFile(path), bytes);
      });

      it(`${name} writes into no file that was prepared as ${prepared}: owner, mode and content are its own`, async () => {
        const file = join(directory, prepared);
        await writeFile(file, 'prepared');
        await link(file, join(directory, 'second name'));
        await chmod(file, 0o666);
        if (isRoot) await chown(file, STRANGER, STRANGER);
        await write(path);
        const { uid, mode } = await stat(path);
        assert.equal(uid, process.geteuid?.());
        assert.equal(mode & 0o777, 0o600);
        assert.equal(await readFile(join(directory, 'second name'), 'utf8'), 'prepared');
      });
    }

    it(`${name} leaves nothing beside the file, and gives each failure the path and a code`, async () => {
      await write(path);
      await assert.rejects(write(join(directory, 'none', 'file')), {
        code: 'FILE_NOT_FOUND',
        message: new RegExp(`^${directory}/none`),
      });
      await mkdir(join(directory, 'taken', 'by'), { recursive: true });
      await assert.rejects(write(join(directory, 'taken')), { code: 'FILE_IN_THE_WAY' });
      assert.deepEqual(
        (await readdir(directory)).filter((name) => name !== 'taken.tmp').toSorted(),
        ['file', 'taken', 'victim'],
      );
    });
  }

  it('an output takes the name of no device, pipe, socket or system link, and waits for none of them', async () => {
    execFileSync('mkfifo', [path]);
    await symlink(path, join(directory, 'to the pipe'));
    // The machine's own devices are not put at risk: nothing is ever written.
    const write = () => Promise.reject(new Error('written'));
    const steps = { ...atomicFileSteps, write };
    for (const special of [path, 'to the pipe', '/dev/null', '/dev/stdout', '/proc/self/cwd'])
      await assert.rejects(
        writeOutput(resolve(directory, special), bytes, { steps }),
        { code: 'FILE_IN_THE_WAY' },
        special,
      );
    assert.ok((await stat(path)).isFIFO());
  });

  it('an output that must be new takes no name that is there, also not one that comes meanwhile', async () => {
    await assert.rejects(writeOutput(victim, bytes, { isNew: true }), { code: 'FILE_EXISTS' });
    await symlink(join(directory, 'nowhere'), join(directory, 'dangling'));
    await assert.rejects(writeOutput(join(directory, 'dangling'), bytes, { isNew: true }), {
      code: 'FILE_EXISTS',
    });
    const sync = async (temporary: string) => {
      await atomicFileSteps.sync(temporary);
      await writeFile(path, 'was quicker');
    };
    await assert.rejects(
      writeOutput(path, bytes, { isNew: true, steps: { ...atomicFileSteps, sync } }),
      { code: 'FILE_EXISTS' },
    );
    assert.equal(await readFile(path, 'utf8'), 'was quicker');
    await writeOutput(join(directory, 'new'), bytes, { isNew: true, mode: PUBLIC });
    assert.equal((await stat(join(directory, 'new'))).mode & 0o600, 0o600);
    assert.deepEqual((await readdir(directory)).toSorted(), ['dangling', 'file', 'new', 'victim']);
  });

  it('an output stays in the directory that was opened, whatever takes its name meanwhile', async () => {
    const folder = join(directory, 'folder');
    const other = join(directory, 'other');
    await mkdir(folder);
    await mkdir(other);
    const sync = async (temporary: string) => {
      await atomicFileSteps.sync(temporary);
      await rename(folder, join(directory, 'moved'));
      await symlink(other, folder);
    };
    await writeOutput(join(folder, 'file'), bytes, { steps: { ...atomicFileSteps, sync } });
    assert.deepEqual(await readdir(other), []);
    assert.deepEqual(await readdir(join(directory, 'moved')), ['file']);
  });

  it('an output follows no link of another user on the way to its directory', async function () {
    if (!isRoot) this.skip();
    const folder = join(directory, 'folder');
    await mkdir(folder);
    await symlink(folder, join(directory, 'own'));
    execFileSync('ln', ['-s', folder, join(directory, 'foreign')]);
    execFileSync('chown', ['-h', String(STRANGER), join(directory, 'foreign')]);
    await writeOutput(join(directory, 'own', 'file'), bytes);
    await assert.rejects(writeOutput(join(directory, 'foreign', 'other'), bytes), {
      code: 'FILE_LINK_OF_OTHERS',
    });
    assert.deepEqual(await readdir(folder), ['file']);
    assert.equal(await readlink(join(directory, 'own')), folder);
  });

  it('what is appended goes to no link and waits for no pipe', async () => {
    await symlink(victim, path);
    execFileSync('mkfifo', [join(directory, 'pipe')]);
    for (const place of [path, join(directory, 'pipe'), directory]) {
      await assert.rejects(openForAppend(place), { code: 'FILE_IN_THE_WAY' }, place);
      assert.throws(() => openForAppendSync(place), { code: 'FILE_IN_THE_WAY' }, place);
    }
    await using log = await openForAppend(join(directory, 'log'));
    assert.equal((await log.stat()).mode & 0o777, 0o600);
  });

  it('nothing but src/files writes, renames or truncates a file, save what is listed here with its reason', () => {
    const root = fileURLToPath(new URL('../../../..', import.meta.url));
    const reasons: Readonly<Record<string, string>> = {
      'src/confinement.ts': 'writes to files of /proc that the kernel makes',
      'src/keystore/file-lock.ts':
        'a ticket is empty, new (wx) and has a name that nobody can guess',
      'src/wireguard/secret-file.ts':
        'new (wx+), and its name is gone before there is anything in it',
      'agent/inner/ca/issue.ts': 'renames the link `current`, which has no content',
      'agent/organisation/state-copy.ts': 'copies into a new directory in memory, mode 0700',
      'agent/organisation/state/steps.ts':
        'within a state directory, into a folder that is made for it, mode 0700',
      'demo/organisation.ts': 'in a temporary directory of the demonstration, mode 0700',
      'demo/traffic-steps.ts': 'in a temporary directory of the demonstration, mode 0700',
    };
    const named =
      /import \{[^}]*\b(writeFile|writeFileSync|appendFile|appendFileSync|createWriteStream|copyFile|copyFileSync|cp|cpSync|rename|renameSync|truncate|truncateSync|link|linkSync)\b[^}]*\} from 'node:fs/;
    const flags = /\bopen(Sync)?\([^)]*,\s*'([aw][sx+]*|r\+)'/;
    const found = globSync('{src,kel,agent,demo}/**/*.ts', { cwd: root })
      .filter((file) => !file.startsWith('src/files/'))
      .filter((file) => {
        const text = readFileSync(join(root, file), 'utf8');
        return named.test(text) || flags.test(text);
      });
    assert.deepEqual(found.toSorted(), Object.keys(reasons).toSorted());
  });
});
