import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';

const root = new URL('../..', import.meta.url).pathname;

describe('kelmesh command of a clone', () => {
  let clone: string;

  before(async () => {
    clone = await mkdtemp(join(tmpdir(), 'kelmesh-clone-'));
    await cp(join(root, 'deploy'), join(clone, 'deploy'), { recursive: true });
    await writeFile(join(clone, 'package.json'), '{"type": "module"}');
  });

  after(async () => {
    await rm(clone, { recursive: true, force: true });
  });

  const command = () => join(clone, 'deploy/kelmesh.mjs');

  async function installAgent(source: string) {
    await mkdir(join(clone, 'agent'), { recursive: true });
    await mkdir(join(clone, 'node_modules/.bin'), { recursive: true });
    await symlink(process.execPath, join(clone, 'node_modules/.bin/node')).catch(() => {});
    await writeFile(join(clone, 'agent/main.ts'), source);
  }

  it('says how to install the packages when they are missing', () => {
    const { status, stderr, stdout } = spawnSync(process.execPath, [command(), 'status'], {
      encoding: 'utf8',
    });
    assert.equal(status, 1);
    assert.equal(stdout, '');
    assert.match(stderr, /^kelmesh: error: .*node_modules/m);
    assert.match(stderr, /^kelmesh: hint: .*setup\.mjs install/m);
  });

  it('passes arguments on, and the exit code back', async () => {
    await installAgent('console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 6;');
    const args = ['audit', 'verify', '--json', 'a b'];
    const { status, stdout } = spawnSync(process.execPath, [command(), ...args], {
      encoding: 'utf8',
    });
    assert.deepEqual(JSON.parse(stdout), args);
    assert.equal(status, 6);
  });

  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    it(`passes ${signal} on and waits for the agent to end`, async () => {
      await installAgent(`
        const hold = setInterval(() => {}, 1000);
        process.on('${signal}', () => { clearInterval(hold); console.log('unwound'); process.exitCode = 3; });
        console.log('ready');`);
      const child = spawn(process.execPath, [command()], { stdio: ['ignore', 'pipe', 'inherit'] });
      let output = '';
      for await (const chunk of child.stdout) {
        output += chunk;
        if (output === 'ready\n') child.kill(signal);
      }
      if (child.exitCode === null) await once(child, 'exit');
      assert.equal(output, 'ready\nunwound\n');
      assert.equal(child.exitCode, 3);
    });
  }

  it('reports an agent that a signal ended as 128 and the number of the signal', async () => {
    await installAgent("process.kill(process.pid, 'SIGKILL');");
    assert.equal(spawnSync(process.execPath, [command()]).status, 137);
  });
});

describe('set-up', () => {
  it('refuses a program that it does not know, before it installs anything', () => {
    const { status, stderr } = spawnSync(
      process.execPath,
      [join(root, 'deploy/setup.mjs'), 'demmo', '--'],
      { encoding: 'utf8' },
    );
    assert.equal(status, 2);
    assert.match(stderr, /expected one of demo, test/);
  });
});
