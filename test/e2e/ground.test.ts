/** What runs put on the machine goes, whatever ends them: the demonstration, the tests, the benchmarks. */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, before, beforeEach, describe, it } from 'mocha';
import { holdGround, sweepGrounds } from '../../demo/ground.ts';
import { eventually } from '../support/machines/federation.ts';
import { namespacesUnavailable } from '../support/machines/namespace.ts';
import { skip } from '../support/skip.ts';

const GROUND = new URL('../../demo/ground.ts', import.meta.url).href;

/** Holds a ground, makes it, starts something in it that does not end by itself, and does nothing more. */
const HOLDER = `
  import { execFileSync, spawn } from 'node:child_process';
  import { writeFileSync } from 'node:fs';
  const { holdGround } = await import('${GROUND}');
  const [, name, dir] = process.argv;
  await holdGround('a trial', { namespaces: [name], interfaces: [name], dir });
  execFileSync('ip', ['netns', 'add', name]);
  writeFileSync(dir + '/file', '');
  spawn('ip', ['netns', 'exec', name, 'sh', '-c', 'trap "" HUP; while :; do sleep 1000; done'], { detached: true, stdio: 'ignore' });
  setTimeout(() => console.log('ready'), 300);
  setInterval(() => {}, 1000);`;

describe('the ground of a run', () => {
  let name: string;
  let dir: string;
  let holder: ChildProcess;

  before(function () {
    const reason = namespacesUnavailable();
    if (reason !== undefined) skip(this, reason);
  });

  beforeEach(async () => {
    name = `kg${randomBytes(4).toString('hex')}`;
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-ground-'));
    holder = spawn(process.execPath, ['--input-type=module', '-e', HOLDER, name, dir], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(holder.stdout as NodeJS.ReadableStream, 'data');
  });

  afterEach(async () => {
    if (holder.exitCode === null && holder.signalCode === null) holder.kill('SIGKILL');
    await eventually('the ground is gone', async () => isGone());
    await rm(dir, { recursive: true, force: true });
  });

  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGKILL'] as const)
    it(`goes when ${signal} ends the run`, async () => {
      assert.ok(!isGone());
      holder.kill(signal);
      await eventually('the ground is gone', async () => isGone());
    });

  it('goes when SIGTERM comes to the run and its cleaner at one moment', async () => {
    for (const pid of [holder.pid, ...cleaners()]) process.kill(Number(pid), 'SIGTERM');
    await eventually('the ground is gone', async () => isGone());
  });

  it('is taken away by the next run when the cleaner was killed too, and is named', async () => {
    const gone = once(holder, 'exit');
    for (const pid of [...cleaners(), holder.pid]) process.kill(Number(pid), 'SIGKILL');
    await gone;
    assert.ok(!isGone());
    const said: string[] = [];
    await sweepGrounds((line) => said.push(line));
    assert.ok(isGone());
    assert.match(
      said.join('\n'),
      new RegExp(`a trial .*took away 1 network namespaces, [1-9]\\d* programs.*${name}`),
    );
  });

  it('stays while its run lives, whoever sweeps', async () => {
    await sweepGrounds(() => undefined);
    const other = `${name}x`;
    await (await holdGround('another trial', { namespaces: [other], interfaces: [] })).release();
    assert.ok(!isGone());
  });

  function cleaners(): readonly string[] {
    return readdirSync('/proc').filter((pid) => {
      if (!/^\d+$/.test(pid)) return false;
      try {
        const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8');
        return command.includes('ground-cleaner') && command.includes(`"pid":${holder.pid},`);
      } catch {
        return false;
      }
    });
  }

  function isGone(): boolean {
    const names = spawnSync('ip', ['netns'], { encoding: 'utf8' }).stdout;
    return !names.includes(name) && !existsSync(dir);
  }
}).timeout(60_000);
