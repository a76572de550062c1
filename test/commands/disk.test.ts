/** A disk that is full, read-only or damaged, at every command that opens a state directory at rest. */
import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, afterEach, before, beforeEach, describe, it } from 'mocha';
import { diskSpace, diskWarning } from '#agent/organisation/disk-space';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';
import { skip } from '../support/skip.ts';

const KELMESH = fileURLToPath(new URL('../../agent/main.ts', import.meta.url));

/** Nothing that they are asked for is written. */
const reading = [
  ['id', 'show'],
  ['id', 'log'],
  ['id', 'export'],
  ['id', 'escrow'],
  ['id', 'evidence', 'list'],
  ['mesh', 'show'],
  ['watch', 'list'],
  ['node', 'list'],
  ['witness', 'list'],
  ['witness', 'show'],
  ['revoke', 'status'],
  ['config', 'check'],
  ['ca', 'list'],
];

interface Told {
  readonly code: number;
  readonly json: {
    readonly error?: { readonly code: string; readonly message: string; readonly hint: string };
  };
}

/** A mount namespace of its own, with a small file system in memory. */
class SmallDisk implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), 'kelmesh-disk-'));
  readonly disk = join(this.dir, 'disk');
  readonly config = join(this.dir, 'kelmesh.toml');
  #holder: ChildProcess | undefined;

  async open(): Promise<this> {
    mkdirSync(this.disk);
    writeFileSync(
      this.config,
      'name = "alba"\nstate = "disk/state"\n[keystore]\nsecret-file = "secret"\n',
    );
    const script = `mount -t tmpfs -o size=6m,mode=755 tmpfs "$0" && echo ready && exec cat`;
    this.#holder = spawn('unshare', ['-m', 'sh', '-c', script, this.disk], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    await once(this.#holder.stdout as NodeJS.ReadableStream, 'data');
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#holder === undefined ? undefined : once(this.#holder, 'exit');
    this.#holder?.stdin?.end();
    await ended;
    rmSync(this.dir, { recursive: true, force: true });
  }

  run(
    file: string,
    ...args: readonly string[]
  ): Promise<{ code: number; stdout: string; stderr: string }> {
    const inside = ['-t', String(this.#holder?.pid), '-m', '--', file, ...args];
    return new Promise((resolve) => {
      execFile('nsenter', inside, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
      );
    });
  }

  async kelmesh(...args: readonly string[]): Promise<Told> {
    const all = [KELMESH, ...args, '--config', this.config, '--json'];
    const { code, stdout, stderr } = await this.run(process.execPath, ...all);
    try {
      return { code, json: JSON.parse(stdout) };
    } catch {
      assert.fail(`kelmesh ${args.join(' ')}: ${code}: ${stdout}${stderr}`);
    }
  }

  async fill(): Promise<void> {
    await this.run('sh', '-c', `cat /dev/zero > "$0/fill" 2>&1`, this.disk);
  }
}

describe('kelmesh on a disk that cannot be written', function () {
  this.timeout(180_000);
  let small: SmallDisk;
  const usual = new Map<string, unknown>();

  before(async function () {
    if (process.geteuid?.() !== 0) skip(this, 'mounts need root');
    small = await new SmallDisk().open();
    assert.equal((await small.kelmesh('init', '--generate-secret')).code, 0);
    assert.equal((await small.kelmesh('mesh', 'create', 'highlands')).code, 0);
    const secret = ['--secret-file', join(small.dir, 'secret')];
    assert.equal((await small.kelmesh('ca', 'init', ...secret)).code, 0);
    for (const words of reading) usual.set(words.join(' '), (await small.kelmesh(...words)).json);
  });

  after(async () => {
    await small?.[Symbol.asyncDispose]();
  });

  const states: Readonly<
    Record<string, { make: () => Promise<unknown>; undo: () => Promise<unknown>; code: string }>
  > = {
    full: {
      make: () => small.fill(),
      undo: () => small.run('rm', join(small.disk, 'fill')),
      code: 'FILE_NO_SPACE',
    },
    'read-only': {
      make: () => small.run('mount', '-o', 'remount,ro', small.disk),
      undo: () => small.run('mount', '-o', 'remount,rw', small.disk),
      code: 'FILE_READ_ONLY',
    },
  };

  for (const [name, { make, undo, code }] of Object.entries(states)) {
    it(`${name}: what only reads says the same as before, and leaves nothing in memory`, async () => {
      await make();
      const copies = () =>
        readdirSync('/dev/shm').filter((name) => name.startsWith('kelmesh-read'));
      const others = copies();
      for (const words of reading) {
        const { code, json } = await small.kelmesh(...words);
        assert.deepEqual([words, code, json], [words, 0, usual.get(words.join(' '))]);
      }
      assert.deepEqual(
        copies().filter((copy) => !others.includes(copy)),
        [],
      );
      await undo();
    });

    it(`${name}: what writes says what is wrong, with the path and the cure, and changes nothing`, async () => {
      await make();
      for (const words of [
        ['id', 'rotate', '--yes'],
        ['mesh', 'admit', 'EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA', '--name', 'x', '--yes'],
        ['watch', 'remove', 'EAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'],
        ['audit', 'export', '--out', join(small.disk, 'evidence.kmb')],
        ['id', 'export', '--out', join(small.disk, 'log.cesr')],
        ['id', 'backup', join(small.disk, 'keys')],
        ['up'],
        ['ca', 'issue', 'records', '--secret-file', join(small.dir, 'secret')],
        ['id', 'custodian', 'init', '--name', 'x', '--out', join(small.disk, 'card')],
      ]) {
        const { code: exit, json } = await small.kelmesh(...words);
        const { error } = json;
        const what = `${words.join(' ')}: ${JSON.stringify(json)}`;
        assert.equal(exit, 1, what);
        assert.match(
          String(error?.code),
          new RegExp(`^(${code}|KEYSTORE_IO|CA_IO|STORE_WRITE_FAILED)$`),
          what,
        );
        assert.ok(error?.message.includes(`${small.disk}/`), what);
        assert.match(String(error?.message), /no space left|read-only/i, what);
        assert.notEqual(error?.hint, '', what);
      }
      await undo();
      for (const words of [reading[0], reading[1], reading[5]] as readonly string[][]) {
        const { json } = await small.kelmesh(...words);
        assert.deepEqual([words, json], [words, usual.get(words.join(' '))]);
      }
    });
  }
});

describe('kelmesh on a damaged state directory', function () {
  this.timeout(60_000);
  let dir: string;
  let whole: string;
  let state: string;
  let common: readonly string[];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-damaged-'));
    whole = join(dir, 'whole');
    state = join(dir, 'state');
    common = ['--config', await initAtRest(dir)];
    await cliJson('id', 'show', ...common);
    cpSync(state, whole, { recursive: true });
  });
  beforeEach(() => {
    rmSync(state, { recursive: true, force: true });
    cpSync(whole, state, { recursive: true });
  });
  after(() => rmSync(dir, { recursive: true, force: true }));
  afterEach(async () => {
    rmSync(state, { recursive: true, force: true });
    cpSync(whole, state, { recursive: true });
    await cliJson('id', 'show', ...common);
  });

  const named = (pattern: RegExp) => {
    const names = readdirSync(join(state, 'store')).filter((name) => pattern.test(name));
    assert.ok(names.length > 0, String(pattern));
    return names.map((name) => join(state, 'store', name));
  };
  const empty = (pattern: RegExp) => () => {
    for (const file of named(pattern)) writeFileSync(file, '');
  };
  const gone = (pattern: RegExp) => () => {
    for (const file of named(pattern)) rmSync(file);
  };
  const damages: Readonly<Record<string, () => void>> = {
    'an empty CURRENT': empty(/^CURRENT$/),
    'no CURRENT': gone(/^CURRENT$/),
    'an empty MANIFEST': empty(/^MANIFEST/),
    'no MANIFEST': gone(/^MANIFEST/),
    'empty tables': empty(/\.ldb$/),
    'a file in its place': () => {
      rmSync(join(state, 'store'), { recursive: true });
      writeFileSync(join(state, 'store'), '');
    },
  };

  for (const [what, damage] of Object.entries(damages)) {
    it(`${what}: every command names the database and the cure, and makes no new one`, async () => {
      damage();
      const files = readdirSync(state);
      for (const words of [
        ...reading.slice(0, -2),
        ['id', 'rotate', '--yes'],
        ['audit', 'export', '--out', join(dir, 'x')],
      ]) {
        const { exit, code, message, hint } = await cliError(...words, ...common);
        const told = `${words.join(' ')}: ${code} ${message}`;
        assert.deepEqual([exit, code], [1, 'CONTROL_STATE_DAMAGED'], told);
        assert.ok(message.includes(join(state, 'store')), told);
        assert.match(hint, /backup/, told);
      }
      const { stderr } = await cli('id', 'show', ...common);
      assert.doesNotMatch(stderr, /defect|\n {4}at /);
      assert.deepEqual(readdirSync(state), files);
    });
  }

  it('an empty key store is told as such', async () => {
    writeFileSync(join(state, 'keys.sealed'), '');
    const { code, message } = await cliError('id', 'show', ...common);
    assert.equal(code, 'KEYSTORE_CORRUPT');
    assert.ok(message.length > 0);
  });
});

describe('room on the disk', () => {
  const of = (freeBytes: number, totalBytes: number, freeFiles: number | undefined = undefined) =>
    diskWarning({ path: '/var/lib/kelmesh', freeBytes, totalBytes, freeFiles });
  const MIB = 1024 * 1024;

  it('is warned of before it is gone, in words with the path and both values', () => {
    assert.equal(of(1_000_000 * MIB, 10_000_000 * MIB), undefined);
    assert.equal(of(300 * MIB, 1_000_000 * MIB), undefined);
    assert.match(
      String(of(200 * MIB, 1_000_000 * MIB)),
      /\/var\/lib\/kelmesh .*200\.0 MiB of 1000000\.0 MiB/,
    );
    assert.equal(of(200 * MIB, 1_000 * MIB), undefined);
    assert.notEqual(of(90 * MIB, 1_000 * MIB), undefined);
    assert.notEqual(of(15 * MIB, 20 * MIB), undefined);
    assert.match(String(of(5_000 * MIB, 10_000 * MIB, 1_000)), /1000 more files/);
  });

  it('is what the system says', () => {
    const { freeBytes, totalBytes } = diskSpace(tmpdir());
    assert.ok(freeBytes > 0 && totalBytes >= freeBytes);
  });
});
