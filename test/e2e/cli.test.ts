/** `kelmesh` as scripts meet it: names, options, exit codes, JSON. */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { loadCommands } from '#agent/cli/commands';
import { configKeys } from '#agent/organisation/config/keys';
import { initAtRest } from '../support/machines/at-rest.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';
import type { Machine } from '../support/machines/federation.ts';
import { withMachines } from '../support/machines/with-machines.ts';

const commands = await loadCommands();

const KELMESH = fileURLToPath(new URL('../../deploy/kelmesh.mjs', import.meta.url));

/** Verbs that the issue and the manual name. */
const VERBS = [
  ...['init', 'up', 'down', 'status', 'config check', 'peer list'],
  ...['id show', 'id rotate', 'id export', 'id verify', 'audit export', 'audit verify'],
  ...['mesh create', 'mesh invite', 'mesh join', 'mesh admit', 'mesh rename', 'mesh remove'],
  ...['mesh hand-over', 'mesh accept', 'mesh leave', 'mesh show'],
  ...['ca init', 'ca issue', 'state show', 'state take-over', 'state restore'],
];

describe('the command line', () => {
  it('has every command, each with its help', async () => {
    const names = commands.map(({ name }) => name);
    for (const verb of VERBS) assert.ok(names.includes(verb), verb);
    const overview = await cli('--help');
    assert.equal(overview.code, 0);
    for (const name of names) {
      assert.match(overview.stdout, new RegExp(`^ +${name} `, 'm'));
      for (const args of [
        [...name.split(' '), '--help'],
        ['help', ...name.split(' ')],
      ]) {
        const { code, stdout, stderr } = await cli(...args);
        assert.deepEqual([code, stderr], [0, '']);
        assert.match(stdout, new RegExp(`^usage: kelmesh ${name}`));
        for (const option of ['--json', '--config', '--help']) assert.ok(stdout.includes(option));
      }
    }
  });

  it('explains a group of commands, and its version', async () => {
    const mesh = await cli('mesh', '--help');
    assert.equal(mesh.code, 0);
    assert.match(mesh.stdout, /mesh invite/);
    assert.doesNotMatch(mesh.stdout, /id rotate/);
    assert.equal((await cli('mesh')).code, 2);
    assert.match((await cli('--version')).stdout, /^kelmesh \d+\.\d+\.\d+\n$/);
  });

  it('lists every configuration key in the help of config check', async () => {
    const { stdout } = await cli('config', 'check', '--help');
    for (const name of Object.keys(configKeys))
      assert.match(stdout, new RegExp(`^ +${name}: `, 'm'));
  });

  for (const args of [
    [],
    ['fly'],
    ['mesh', 'fly'],
    ['status', '--colour'],
    ['status', 'now'],
    ['mesh', 'join'],
    ['mesh', 'create', 'm', 'n'],
    ['mesh', 'create', 'm', '--epoch-seconds', '5'],
    ['audit', 'export'],
    ['id', 'verify'],
  ])
    it(`ends with 2 for kelmesh ${args.join(' ')}`, async () => {
      const { code, stderr, stdout } = await cli(...args);
      assert.equal(code, 2);
      if (args.length === 0) assert.match(stdout, /^kelmesh: /);
      else assert.match(stderr, /^kelmesh: error: .+\nkelmesh: hint: .+\n$/);
      if (args.length > 0) assert.equal(stdout, '');
    });

  it('says what is wrong in JSON too, with the same exit code', async () => {
    const error = await cliError('mesh', 'fly');
    assert.deepEqual([error.exit, error.schema, error.code], [2, 'kelmesh.error/1', 'CLI_USAGE']);
    assert.match(error.message, /mesh fly/);
    assert.ok(error.hint.length > 0);
  });
});

describe('kelmesh on an organisation at rest', () => {
  let dir: string;
  let config: string;

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-cli-'));
    config = await initAtRest(dir);
    await cliJson('id', 'rotate', '--yes', '--config', config);
    await cliJson('id', 'export', '--out', join(dir, 'log.cesr'), '--config', config);
  });

  after(async () => {
    await rm(dir, { recursive: true, force: true });
  });

  it('takes --config before and after the command, and --config=FILE', async () => {
    const { aid } = await cliJson('id', 'show', '--config', config);
    assert.equal((await cliJson('--config', config, 'id', 'show')).aid, aid);
    assert.equal((await cliJson(`--config=${config}`, 'id', 'show')).aid, aid);
    const { code, stdout } = await cli('--json', '--config', config, 'id', 'show');
    assert.deepEqual([code, JSON.parse(stdout).aid], [0, aid]);
  });

  it('ends with 3 where an agent is needed and none runs', async () => {
    for (const verb of ['status', 'peer list', 'down', 'mesh invite']) {
      const error = await cliError(...verb.split(' '), '--config', config);
      assert.deepEqual([error.exit, error.code], [3, 'CONTROL_NOT_RUNNING'], verb);
      assert.match(error.hint, /kelmesh up/);
      assert.ok(error.message.includes(join(dir, 'state', 'control.sock')));
    }
  });

  it('checks the configuration and shows what is in force', async () => {
    const checked = await cliJson('config', 'check', '--config', config);
    assert.deepEqual([checked.schema, checked.name], ['kelmesh.config/1', 'alba']);
    assert.equal(checked.stateDir, join(dir, 'state'));
    assert.equal(checked.socket, join(dir, 'state', 'control.sock'));
    assert.deepEqual([checked.tunnel.port, checked.tunnel.mtu], [51_820, 1_420]);
    const { code, stdout } = await cli('config', 'check', '--config', config);
    assert.equal(code, 0);
    assert.ok(stdout.includes(`${config} is valid`));
  });

  it('verifies logs with every field of the contract', async () => {
    const report = await cliJson('id', 'verify', join(dir, 'log.cesr'));
    const own = await cliJson('id', 'show', '--config', config);
    assert.deepEqual(Object.keys(report).sort(), [
      'aids',
      'dropped',
      'refused',
      'schema',
      'waiting',
    ]);
    assert.equal(report.aids.length, 1);
    const [state] = report.aids;
    for (const field of [
      ...['aid', 'sn', 'said', 'kind', 'keys', 'nextDigests', 'signingThreshold'],
      ...['nextThreshold', 'witnesses', 'witnessThreshold', 'delegator'],
    ]) {
      assert.ok(field in state, field);
      assert.deepEqual(state[field], own[field], field);
    }
    assert.deepEqual([state.kind, state.delegator, state.witnesses], ['CBOR', null, []]);
    assert.ok(state.sn >= 1);
  });

  it('reads logs from standard input, from several files, and cut anywhere', async () => {
    const log = readFileSync(join(dir, 'log.cesr'));
    const piped = spawnSync(process.execPath, [KELMESH, 'id', 'verify', '-', '--json'], {
      input: log,
      encoding: 'utf8',
    });
    const whole = await cliJson('id', 'verify', join(dir, 'log.cesr'));
    assert.equal(piped.status, 0, piped.stderr);
    assert.deepEqual(JSON.parse(piped.stdout), whole);
    for (const at of [100, 350, log.length - 10]) {
      const [one, two] = [join(dir, 'one.cesr'), join(dir, 'two.cesr')];
      writeFileSync(one, log.subarray(0, at));
      writeFileSync(two, log);
      const { aids } = JSON.parse((await cli('id', 'verify', two, one, '--json')).stdout);
      assert.deepEqual(aids, whole.aids);
    }
  });

  it('reports what waits for something that the files do not hold', async () => {
    const log = readFileSync(join(dir, 'log.cesr'));
    const second = log.indexOf('KERI10', log.indexOf('KERI10') + 1) - 4;
    const tail = join(dir, 'tail.cesr');
    writeFileSync(tail, log.subarray(second));
    const { code, stdout } = await cli('id', 'verify', tail, '--json');
    const { aids, refused, waiting } = JSON.parse(stdout);
    assert.deepEqual([code, aids, refused], [1, [], []]);
    assert.deepEqual(
      [waiting[0].code, waiting[0].offset, waiting[0].sn],
      ['KEL_AWAITS_PRIOR', 0, 1],
    );
    assert.match(waiting[0].said, /^E/);
    assert.match((await cli('id', 'verify', tail)).stdout, /waiting: KEL_AWAITS_PRIOR at byte 0/);
  });

  it('writes a log to standard output as it is', () => {
    const args = [KELMESH, 'id', 'export', '--config', config];
    assert.deepEqual(execFileSync(process.execPath, args), readFileSync(join(dir, 'log.cesr')));
  });

  it('gives no exit code 0 to a bundle that says too little', async () => {
    const file = join(dir, 'evidence.kmb');
    const exported = await cliJson('audit', 'export', '--out', file, '--config', config);
    assert.deepEqual([exported.file, exported.bytes], [file, readFileSync(file).length]);
    const { code, stdout } = await cli('audit', 'verify', file, '--json');
    const { schema, verdict, tunnelCount, tunnels, problems } = JSON.parse(stdout);
    assert.deepEqual([code, schema, verdict], [6, 'kelmesh.audit/1', 'incomplete']);
    assert.deepEqual([tunnelCount, tunnels, problems[0].code], [0, [], 'BUNDLE_NO_TUNNEL']);
    assert.match((await cli('audit', 'verify', file)).stdout, /^verdict: incomplete, 0 tunnels/);
    assert.equal((await cli('audit', 'verify', join(dir, 'log.cesr'))).code, 1);
  });
});

describe('kelmesh with an agent that runs', function () {
  this.timeout(30_000);
  let machine: Machine;

  withMachines(['a'], async (machines) => {
    machine = machines.get('a');
    await machine.ok('init', '--name', 'a', '--generate-secret');
  });

  it('up gives the status; a second up is refused and disturbs nothing', async () => {
    const status = await machine.json('up');
    assert.equal(status.schema, 'kelmesh.status/1');
    assert.equal(status.mesh, null);
    const pid = await machine.agentPid();
    const second = await machine.kelmesh('up', '--json');
    assert.equal(second.code, 1);
    assert.equal(JSON.parse(second.stdout).error.code, 'CONTROL_ALREADY_RUNNING');
    assert.equal(await machine.agentPid(), pid);
    assert.equal((await machine.json('status')).aid, status.aid);
  });

  it('the agent answers its owner alone', async () => {
    const { stdout } = await machine.run('stat', '-c', '%a', '/var/lib/kelmesh/control.sock');
    assert.equal(stdout.trim(), '600');
    const other = ['--reuid=65534', '--regid=65534', '--clear-groups'];
    const asked = [process.execPath, KELMESH, 'status', '--json'];
    const refused = await machine.run('setpriv', ...other, ...asked);
    assert.equal(refused.code, 4, refused.stderr);
    assert.equal(JSON.parse(refused.stdout).error.code, 'CONTROL_NO_ACCESS');
  });

  it('a group reads its status at a socket of its own, and can do nothing else', async () => {
    const file = '/etc/kelmesh/kelmesh.toml';
    const { stdout: before } = await machine.run('cat', file);
    machine.write(file, `${before}\n[control]\ngroup = "4711"\n`);
    await machine.ok('down', '--keep-tunnels');
    await machine.ok('up');
    const as = (group: number, ...args: readonly string[]) => {
      const other = ['--reuid=65534', `--regid=${group}`, '--clear-groups'];
      return machine.run('setpriv', ...other, process.execPath, KELMESH, ...args, '--json');
    };
    const read = await as(4711, 'status');
    assert.equal(read.code, 0, read.stderr);
    assert.equal(JSON.parse(read.stdout).aid, (await machine.json('status')).aid);
    assert.equal((await as(4711, 'mesh', 'show')).code, 0);
    for (const args of [['mesh', 'create', 'm'], ['down'], ['id', 'rotate', '--yes']]) {
      const refused = await as(4711, ...args);
      assert.equal(refused.code, 4, refused.stderr);
      assert.match(JSON.parse(refused.stdout).error.hint, /control\.group/);
    }
    assert.equal((await as(4712, 'status')).code, 4);
    machine.write(file, before);
  }).timeout(120_000);

  it('commands reach it: a mesh founded while it runs comes up at once', async () => {
    await machine.ok('mesh', 'create', 'research');
    const status = await machine.json('status');
    assert.equal(status.mesh.name, 'research');
    assert.equal((await machine.json('mesh', 'show')).mesh.isGovernor, true);
    assert.match(
      await machine.ok('mesh', 'invite'),
      /^kelmesh:2:[\w-]{8}:E[^@]+@\/ip4\/10\.77\.0\.1\//,
    );
    assert.match(await machine.ok('peer', 'list'), /no other members/);
    const { sn } = await machine.json('id', 'rotate', '--yes');
    assert.ok(sn > status.sn);
  });

  it('down takes everything down, and up brings it back', async () => {
    const { aid } = await machine.json('status');
    await machine.ok('down');
    assert.deepEqual(await machine.leftovers(), []);
    assert.equal((await machine.json('up')).aid, aid);
    const stopped = await machine.json('down');
    assert.deepEqual([stopped.schema, stopped.stopped], ['kelmesh.down/1', true]);
    assert.deepEqual(await machine.leftovers(), []);
  });
});
