/** The examples of the manual, run as they stand there, on what is whole and on what is not. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { mergeBundles } from '#agent/evidence/format/bundle';
import { World } from '../support/kit/evidence-federation.ts';
import { Organisation } from '../support/kit/key-log.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

describe('the examples of the manual', () => {
  let dir: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-examples-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  function run(example: string, bytes: Uint8Array) {
    const file = join(dir, 'file');
    writeFileSync(file, bytes);
    const program = join(root, 'docs/examples', example);
    const { status, stdout, stderr } = spawnSync(process.execPath, [program, file], {
      cwd: dir,
      encoding: 'utf8',
    });
    return { status, stdout, stderr };
  }

  it('verify-log.ts accepts a whole log, and neither one with a hole nor one with a changed byte', () => {
    const org = new Organisation('example');
    org.incept();
    const inception = org.stream.length;
    org.anchor();
    const anchored = org.stream.length;
    org.rotate({ nextCount: 1 });
    const log = org.stream;
    const whole = run('verify-log.ts', log);
    assert.deepEqual([whole.status, whole.stderr], [0, '']);
    assert.match(whole.stdout, new RegExp(`^${org.aid} event 2 ${org.state.said}`));
    const hole = run(
      'verify-log.ts',
      Buffer.concat([log.slice(0, inception), log.slice(anchored)]),
    );
    assert.equal(hole.status, 1);
    assert.match(
      hole.stdout,
      new RegExp(`${org.aid} event 0 [\\s\\S]*waits at ${inception}: KEL_`),
    );
    const changed = Uint8Array.from(log);
    changed[anchored - 10] = (changed[anchored - 10] as number) ^ 1;
    const refused = run('verify-log.ts', changed);
    assert.equal(refused.status, 1);
    assert.match(refused.stdout, /(refused|waits) at \d+: KEL_/);
    assert.equal(run('verify-log.ts', new Uint8Array(0)).status, 1);
  });

  it('verify-bundle.ts says clean of what both ends logged, incomplete of one end, and never clean of changed bytes', async () => {
    const world = new World('example');
    const [alpha, beta] = [await world.add('alpha'), await world.add('beta')];
    await world.adopt([alpha, beta]);
    await world.tunnel(alpha, beta);
    for (const member of [alpha, beta]) await member.anchor();
    const one = await alpha.export();
    const both = mergeBundles([one, await beta.export()]);
    const clean = run('verify-bundle.ts', both);
    assert.deepEqual([clean.status, clean.stderr], [0, '']);
    assert.match(clean.stdout, /^clean\n.* with .*missing nothing\n$/);
    const half = run('verify-bundle.ts', one);
    assert.equal(half.status, 6);
    assert.match(half.stdout, /^incomplete\n/);
    const changed = Uint8Array.from(both);
    const at = changed.length >> 1;
    changed[at] = (changed[at] as number) ^ 1;
    const failed = run('verify-bundle.ts', changed);
    assert.notEqual(failed.status, 0);
    assert.match(failed.stdout, /^(failed|incomplete)\n[\s\S]*BUNDLE_/);
  });

  it('are each named by a page, with the command that runs them', () => {
    const pages = globSync('docs/*.md', { cwd: root }).map((page) =>
      readFileSync(join(root, page), 'utf8'),
    );
    const examples = globSync('docs/examples/*.ts', { cwd: root });
    assert.ok(examples.length > 0);
    for (const example of examples.map((file) => basename(file)))
      assert.ok(
        pages.some((page) => page.includes(`docs/examples/${example} FILE`)),
        example,
      );
  });
}).timeout(60_000);
