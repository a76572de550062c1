/** The runner of the tests itself: nothing that goes wrong in a worker is lost, and each file runs once. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, it } from 'mocha';

const root = fileURLToPath(new URL('../../../..', import.meta.url));
const runner = new URL('../../../../deploy/setup/tests.mjs', import.meta.url).href;
const skipping = new URL('../../../support/skip.ts', import.meta.url).href;

const passes = "it('passes', () => {});";

describe('the run of all tests', () => {
  let dir: string;

  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-run-'));
  });
  afterEach(() => rm(dir, { recursive: true, force: true }));

  /** Runs files of these contents. @returns exit code and what was printed */
  async function run(alone: readonly string[], together: readonly string[] = [], workers = 2) {
    const write = (contents: readonly string[], kind: string) =>
      Promise.all(
        contents.map(async (content, n) => {
          const file = join(dir, `${kind}${n}.test.mjs`);
          await writeFile(file, content);
          return file;
        }),
      );
    const files = { alone: await write(alone, 'alone'), together: await write(together, 'beside') };
    const program = `
      const { runInWorkers } = await import(${JSON.stringify(runner)});
      process.exitCode = await runInWorkers(${JSON.stringify(files)}, { workers: ${workers}, lingerMs: 300 });`;
    return execute(program);
  }

  it('sums up over all workers, and succeeds when nothing failed', async () => {
    const { code, output, last } = await run([passes, passes], [passes, passes, passes]);
    assert.equal(code, 0, output);
    assert.equal(last, '5 passed, 0 failed, 0 skipped');
  });

  it('does the same with one worker', async () => {
    const { code, last } = await run([passes], [passes, passes], 1);
    assert.deepEqual([code, last], [0, '3 passed, 0 failed, 0 skipped']);
  });

  const wrong: Readonly<Record<string, { content: string; says: RegExp; passed: number }>> = {
    'a test that fails': {
      content: `${passes} it('fails', () => { throw new Error('so it is'); });`,
      says: /so it is/,
      passed: 1,
    },
    'a hook that fails': {
      content: `before(() => { throw new Error('no ground'); }); ${passes}`,
      says: /no ground/,
      passed: 0,
    },
    'a file that does not load': {
      content: "throw new Error('not this way');",
      says: /cannot be run: Error: not this way/,
      passed: 0,
    },
    'a file that cannot be parsed': {
      content: 'it(',
      says: /cannot be run: .*SyntaxError/s,
      passed: 0,
    },
    'a file that asks for one test alone': {
      content: `it.only('this', () => {}); ${passes}`,
      says: /forbidOnly|forbid-only|only/,
      passed: 0,
    },
    'a worker that is killed': {
      content: `${passes} it('kills', () => { process.kill(process.pid, 'SIGKILL'); return new Promise((r) => setTimeout(r, 5_000)); });`,
      says: /ended \(SIGKILL\) in "kills"/,
      passed: 1,
    },
    'a test that ends the process as if all were well': {
      content: `${passes} it('leaves', () => process.exit(0));`,
      says: /ended \(code 0\) in "leaves"/,
      passed: 1,
    },
    'a file that waits, while it is loaded, for what cannot come': {
      content: 'await new Promise(() => {});',
      says: /ended \(code 13\) while it was loaded|ended \(code 0\) while it was loaded/,
      passed: 0,
    },
    'a rejection that nobody handles': {
      content:
        "it('rejects', async () => { Promise.reject(new Error('unheard')); await new Promise((r) => setTimeout(r, 200)); });",
      says: /a rejection that nobody handles: Error: unheard/,
      passed: 1,
    },
    'an exception after the last test': {
      content: `${passes} after(() => { setTimeout(() => { throw new Error('late'); }, 20); });`,
      says: /process of the tests ended \(code \d+\)/,
      passed: 1,
    },
    'a timer that stays': {
      content: `${passes} setInterval(() => {}, 1_000);`,
      says: /left open: Timeout/,
      passed: 1,
    },
  };

  for (const [what, { content, says, passed }] of Object.entries(wrong))
    it(`fails for ${what}, alone and beside, and runs the other files`, async () => {
      for (const place of ['alone', 'beside']) {
        const [alone, together] = place === 'alone' ? [[content], []] : [[], [content]];
        const { code, output, last } = await run(alone, together, 1);
        assert.equal(code, 1, output);
        assert.match(output, says);
        assert.equal(last, `${passed} passed, 1 failed, 0 skipped`);
      }
      // Not with the file that ends its process after the last test, which may be in the middle of the next one by then.
      if (what === 'an exception after the last test') return;
      const { code, last } = await run([content, passes], [passes, passes]);
      assert.deepEqual([code, last], [1, `${passed + 3} passed, 1 failed, 0 skipped`]);
    }).timeout(60_000);

  it('prints why tests were skipped, in a worker beside too', async () => {
    const skips = `
      const { skip } = await import(${JSON.stringify(skipping)});
      describe('suite', () => { before(function () { skip(this, 'no such device'); }); ${passes} });
      it('one', function () { skip(this, 'no such token'); });`;
    const { code, output, last } = await run([], [skips]);
    assert.deepEqual([code, last], [0, '0 passed, 0 failed, 2 skipped']);
    assert.match(output, /suite passes: no such device/);
    assert.match(output, /one: no such token/);
  });

  it('runs what shares the machine one after the other', async () => {
    const mark = join(dir, 'mark');
    const file = `
      import { existsSync, rmSync, writeFileSync } from 'node:fs';
      it('has the machine', async () => {
        if (existsSync(${JSON.stringify(mark)})) throw new Error('beside another');
        writeFileSync(${JSON.stringify(mark)}, '');
        await new Promise((r) => setTimeout(r, 100));
        rmSync(${JSON.stringify(mark)});
      });`;
    const { last } = await run([file, file, file], [passes], 4);
    assert.equal(last, '4 passed, 0 failed, 0 skipped');
  });

  it('ends with its workers on a signal, and sums up nothing', async () => {
    const said = join(dir, 'pid');
    const file = `
      import { writeFileSync } from 'node:fs';
      it('goes on', async () => {
        writeFileSync(${JSON.stringify(said)}, String(process.pid));
        process.kill(process.ppid, 'SIGTERM');
        await new Promise((r) => setTimeout(r, 20_000));
      });`;
    const { code, output } = await run([file, passes]);
    assert.equal(code, 143);
    assert.doesNotMatch(output, /\d+ passed/);
    assert.throws(() => process.kill(Number(readFileSync(said, 'utf8')), 0), { code: 'ESRCH' });
  });

  it('takes in every test file once, and alone each that makes machines', async () => {
    const { output } = await execute(`
      const { plan } = await import(${JSON.stringify(runner)});
      console.log(JSON.stringify(plan()));`);
    const { alone, together } = JSON.parse(output) as Record<'alone' | 'together', string[]>;
    const all = globSync('test/**/*.test.ts', { cwd: root });
    assert.deepEqual([...alone, ...together].sort(), all.sort());
    const machines =
      /\b(createMachines|createNamespaces|with(Fresh)?Machines|holdGround|sweepGrounds)\(/;
    const wrongly = together.filter((file) =>
      machines.test(readFileSync(join(root, file), 'utf8')),
    );
    assert.deepEqual(
      wrongly.filter((file) => !file.endsWith('deploy/setup/tests.test.ts')),
      [],
    );
  });
}).timeout(30_000);

async function execute(program: string) {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  child.stderr.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, output, last: output.trimEnd().split('\n').at(-1) };
}
