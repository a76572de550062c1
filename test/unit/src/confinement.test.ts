import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, it } from 'mocha';
import { coreLimitOf } from '#src/confinement';
import { skip } from '../../support/skip.ts';

const repository = fileURLToPath(new URL('../../..', import.meta.url));

/** Runs a program until `look` has seen it; `before` is what the shell does before it. */
async function during<T>(
  program: string,
  look: (pid: number) => T | Promise<T>,
  { before = 'ulimit -c unlimited 2>/dev/null', gid = process.getgid?.() ?? 0 } = {},
): Promise<T> {
  const code = `${program}; console.log('ready'); setInterval(() => {}, 1000);`;
  const child = spawn(
    'sh',
    ['-c', `${before}; exec "$@"`, 'sh', process.execPath, '--input-type=module', '-e', code],
    { cwd: repository, stdio: ['ignore', 'pipe', 'ignore'], gid },
  );
  try {
    await Promise.race([once(child.stdout, 'data'), once(child, 'exit')]);
    return await look(child.pid as number);
  } finally {
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
  }
}

const confined = `import { confine } from '#src/confinement'; confine()`;
const plain = 'void 0';

describe('a process that holds secrets', () => {
  it('has no core file, whatever limit it was started with', async () => {
    assert.equal(await during(confined, coreLimitOf), '0');
    assert.equal(await during(confined, coreLimitOf, { before: 'ulimit -c 0' }), '0');
  });

  it('would have no memory in one', async () => {
    const filter = (pid: number) =>
      Number.parseInt(readFileSync(`/proc/${pid}/coredump_filter`, 'latin1'), 16);
    assert.equal(await during(confined, filter), 0);
    assert.notEqual(await during(plain, filter), 0, 'the control');
  });

  it('is not dumpable, where it may say so', async function () {
    if (process.getuid?.() !== 0) skip(this, 'only root can change its group');
    // What belongs to the user of a process belongs to root when it is not dumpable.
    const owner = (pid: number) => statSync(`/proc/${pid}/mem`).gid;
    assert.equal(await during(confined, owner, { gid: 4_242 }), 0);
    assert.equal(await during(plain, owner, { gid: 4_242 }), 4_242, 'the control');
  });

  it('is not dumpable with the capabilities that the systemd unit leaves it, and no more', async function () {
    if (process.getuid?.() !== 0) skip(this, 'only root can take capabilities away');
    if (spawnSync('setpriv', ['--version']).status !== 0) skip(this, 'setpriv is not here');
    const unit = readFileSync(join(repository, 'deploy/kelmesh.service'), 'utf8');
    const kept = /^CapabilityBoundingSet=(.*)$/m.exec(unit)?.[1]?.split(' ') ?? [];
    const left = (names: readonly string[]) =>
      ['-all', ...names.map((name) => `+${name.slice('CAP_'.length).toLowerCase()}`)].join(',');
    // The group is another before the capabilities go, so that what belongs to the group of the process shows.
    const under = (names: readonly string[]) => ({
      before: `set -- setpriv --regid 4242 --clear-groups --bounding-set ${left(names)} --no-new-privs "$@"`,
    });
    const owner = (pid: number) => statSync(`/proc/${pid}/mem`).gid;
    assert.equal(await during(confined, owner, under(kept)), 0);
    const without = kept.filter((name) => name !== 'CAP_SETGID');
    assert.equal(await during(confined, owner, under(without)), 4_242, 'the control');
  });

  it('ignores the signal that opens a debugger, with the flag and without', async () => {
    const survives = async (pid: number) => {
      process.kill(pid, 'SIGUSR1');
      await new Promise((resolve) => setTimeout(resolve, 200));
      return sockets(pid);
    };
    assert.equal(await during(confined, survives), 0);
    assert.ok((await during(plain, survives)) > 0, 'the control');
  });

  it('is every program of ours: each starts Node with the flag that leaves no moment, or is started so', () => {
    const flags = /--disable-sigusr1|NODE_FLAGS/;
    const starts =
      /process\.execPath|\.bin\/node\b.*main\.ts|\bfork\(|programs = \{|runInForeground\(/;
    for (const file of sources('agent', 'src', 'kel', 'deploy')) {
      const text = readFileSync(file, 'utf8');
      if (starts.test(text) && !notOurs.some((name) => file.endsWith(name)))
        assert.match(text, flags, file);
    }
  });
});

/** Starts of the set-up's own helpers and of tests, and of what is no Node. */
const notOurs = ['deploy/child.mjs', 'deploy/setup/paths.mjs', 'deploy/setup/tests.mjs'];

function sockets(pid: number): number {
  const tables = ['tcp', 'tcp6'].map((name) => readFileSync(`/proc/${pid}/net/${name}`, 'latin1'));
  return tables.join('').split(/:240D 0+:0000 0A/).length - 1;
}

function sources(...folders: readonly string[]): readonly string[] {
  return folders.flatMap((folder) =>
    readdirSync(join(repository, folder), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.(ts|mjs|service)$/.test(name))
      .map((name) => join(repository, folder, name)),
  );
}
