/** Commands on the policy of the mesh, on an organisation at rest and on none. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { exitCodes } from '#agent/cli/io';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('kelmesh mesh policy', () => {
  let dir: string;
  let common: readonly string[];

  before(async function () {
    this.timeout(30_000);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-policy-'));
    common = ['--config', await initAtRest(dir)];
    assert.equal(
      (await cliError('mesh', 'policy', 'show', ...common)).code,
      'MESH_NONE',
      'before there is a mesh',
    );
    await cliJson('mesh', 'create', 'demo', ...common);
  });

  after(() => rm(dir, { recursive: true, force: true }));

  const fileOf = (text: string): string => {
    const file = join(dir, 'policy.toml');
    writeFileSync(file, text);
    return file;
  };

  it('check says FILE:LINE: why for each fault, in the order of the lines, and fails', async () => {
    const file = fileOf(
      [
        'topology = "star"',
        '',
        '[[edge]]',
        'between = ["role:server", "*"]',
        'required = ["ml-kem-1024", "x25519", "hqc-512"]',
        'start = "soon"',
        '',
      ].join('\n'),
    );
    const { code, stdout } = await cli('mesh', 'policy', 'check', file, ...common);
    assert.equal(code, exitCodes.failed);
    const lines = stdout.trim().split('\n');
    assert.deepEqual(
      lines.map((line) => line.slice(0, line.indexOf(': '))),
      [1, 5, 6].map((line) => `${file}:${line}`),
    );
    assert.match(lines[1] ?? '', /hqc-512/);
    const json = await cli('mesh', 'policy', 'check', file, ...common, '--json');
    assert.equal(json.code, exitCodes.failed);
    const { schema, valid, faults } = JSON.parse(json.stdout);
    assert.deepEqual([schema, valid, faults.length], ['kelmesh.policy-check/1', false, 3]);
    assert.deepEqual(
      faults.map(({ line, why }: { line: number; why: string }) => `${file}:${line}: ${why}`),
      lines,
    );
  });

  it('check finds what contradicts itself, without an agent and without a configuration', async () => {
    const file = fileOf(
      '[[edge]]\nbetween = ["*", "*"]\nrefused = ["x25519"]\n[[edge]]\nbetween = ["role:device", "*"]\n',
    );
    for (const config of [common, ['--config', join(dir, 'none.toml')]]) {
      const { code, stdout } = await cli('mesh', 'policy', 'check', file, ...config);
      assert.equal(code, exitCodes.failed);
      assert.match(stdout, new RegExp(`^${file}:3: .*x25519`));
      assert.match(stdout, new RegExp(`${file}:5: rule 1 matches every such pair before\\n$`));
    }
    const hostile = fileOf('topology = "\\u001b[2J\\u202e"\n');
    assert.match((await cli('mesh', 'policy', 'check', hostile)).stdout, /:1: topology: .*\\u001b/);
    const missing = await cliError('mesh', 'policy', 'check', join(dir, 'none'), ...common);
    assert.deepEqual([missing.exit, missing.code], [1, 'CONFIG_UNREADABLE']);
  });

  it('show prints a file that reads back, defaults included, and what holds for a pair', async () => {
    const { code, stdout } = await cli('mesh', 'policy', 'show', ...common);
    assert.equal(code, exitCodes.ok);
    assert.match(stdout, /^topology = "full"$/m);
    assert.match(stdout, /^# offered = \["ml-kem-1024", "x25519", "rosenpass"\]$/m);
    const checked = await cliJson('mesh', 'policy', 'check', fileOf(stdout), ...common);
    assert.deepEqual([checked.valid, checked.faults], [true, []]);
    const policy = await cliJson('mesh', 'policy', 'show', ...common);
    assert.equal(policy.schema, 'kelmesh.policy/1');
    assert.deepEqual(
      [policy.topology, policy.rules, policy.defaults.length, policy.pair, policy.isGovernor],
      ['full', [], 2, null, true],
    );
    const alone = await cliError('mesh', 'policy', 'show', '--pair', 'alba', ...common);
    assert.deepEqual([alone.exit, alone.code], [2, 'CLI_USAGE']);
    const twice = await cliError('mesh', 'policy', 'show', '--pair', 'alba', 'alba', ...common);
    assert.deepEqual([twice.exit, twice.code], [1, 'MESH_NOT_A_MEMBER']);
    const nobody = await cliError('mesh', 'policy', 'show', '--pair', 'alba', 'bruma', ...common);
    assert.equal(nobody.code, 'MESH_NOT_A_MEMBER');
  });

  it('set says what comes first while the mesh writes records of version 1, and changes nothing', async () => {
    const before = (await cliJson('mesh', 'show', ...common)).mesh.version;
    const { exit, code, hint } = await cliError(
      ...['mesh', 'policy', 'set', fileOf('topology = "regions"\n'), ...common],
    );
    assert.deepEqual([exit, code], [1, 'MESH_RECORDS_OLD']);
    assert.match(hint, /mesh upgrade/);
    assert.equal((await cliJson('mesh', 'show', ...common)).mesh.version, before);
  });

  it('assign gives a member the role and the region that policy goes by', async () => {
    const assign = (...args: readonly string[]) =>
      cliJson('mesh', 'assign', 'alba', ...args, ...common);
    const { mesh } = await assign('--role', 'relay', '--region', 'eu');
    assert.deepEqual([mesh.members[0].role, mesh.members[0].region], ['relay', 'eu']);
    const { mesh: later } = await assign('--no-region');
    assert.deepEqual([later.members[0].role, later.members[0].region], ['relay', '']);
    for (const args of [[], ['--role', 'king'], ['--region', 'eu', '--no-region']])
      assert.equal((await cliError('mesh', 'assign', 'alba', ...args, ...common)).exit, 2);
    const nobody = await cliError('mesh', 'assign', 'bruma', '--role', 'relay', ...common);
    assert.equal(nobody.code, 'MESH_NOT_A_MEMBER');
  });
});
