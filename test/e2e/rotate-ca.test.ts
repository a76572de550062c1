/** `kelmesh rotate ca` as it is typed, and what the others make of what it hands out. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { caAt } from '../support/kit/ca.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

describe('kelmesh rotate ca', () => {
  let root: string;
  let secret: string;
  const place = (name = 'alba') => ['--dir', join(root, name)];
  const rotate = (...args: readonly string[]) =>
    cliJson('rotate', 'ca', ...place(), '--secret-file', secret, ...args);

  before(async () => {
    root = mkdtempSync(join(tmpdir(), 'kelmesh-rotate-ca-'));
    secret = join(root, 'secret');
    writeFileSync(secret, 'correct horse\n', { mode: 0o600 });
    for (const name of ['Alba', 'Bruma'])
      await caAt(join(root, name.toLowerCase()), Date.now()).init(name);
  });

  after(() => {
    rmSync(root, { recursive: true, force: true });
  });

  const current = async (name = 'alba') =>
    (await cliJson('ca', 'list', ...place(name))).trusted[0].fingerprint;
  const exported = async () => {
    const file = join(root, 'alba.pem');
    writeFileSync(file, (await cliJson('ca', 'export', ...place())).pem);
    return file;
  };
  const trust = async (...args: readonly string[]) =>
    cliJson('ca', 'trust', await exported(), ...place('bruma'), ...args);

  it('says what is due, and changes nothing', async () => {
    const before = readFileSync(join(root, 'alba', 'ca.sealed'));
    const plan = await cliJson('rotate', 'ca', ...place(), '--plan');
    assert.equal(plan.schema, 'kelmesh.rotate-plan/1');
    assert.deepEqual(
      plan.steps.map(({ step }: { step: string }) => step),
      ['prepare', 'activate'],
    );
    assert.deepEqual([plan.obstacle, plan.deadline, plan.pairs], [null, null, []]);
    const { stdout } = await cli('rotate', 'ca', ...place(), '--plan');
    assert.match(stdout, /^prepare .*\nactivate /);
    assert.deepEqual(readFileSync(join(root, 'alba', 'ca.sealed')), before);
  });

  it('prepares, undoes, prepares, activates, and retires when it may', async () => {
    const first = await current();
    await trust();
    await cliJson('ca', 'issue', 'records', ...place(), '--secret-file', secret);
    const prepared = await rotate('--step', 'prepare', '--algorithm', 'ed25519', '--yes');
    assert.equal(prepared.schema, 'kelmesh.rotate/1');
    assert.deepEqual([prepared.kind, prepared.step, prepared.state], ['ca', 'prepare', 'prepared']);
    assert.equal(prepared.fingerprints.current, first);
    assert.equal((await rotate('--undo')).state, 'stable');
    assert.equal((await rotate('--step', 'prepare')).state, 'prepared');
    const active = await rotate();
    assert.deepEqual([active.step, active.state], ['activate', 'activated']);
    assert.equal(active.fingerprints.former, first);
    assert.ok(Date.parse(active.deadline) > Date.now());
    assert.deepEqual((await trust()).ended, []);
    const { steps, step } = await rotate();
    assert.deepEqual([steps, step], [[], null]);
    const early = await cliError('rotate', 'ca', ...place(), '--step', 'retire');
    assert.deepEqual([early.exit, early.code], [1, 'CA_NOT_DUE']);
    assert.match((await cli('rotate', 'ca', ...place(), '--plan')).stderr, /may be retired from/);
    const list = await cliJson('ca', 'list', ...place());
    assert.equal(list.state, 'activated');
    assert.deepEqual(
      list.trusted.map(({ role }: { role: string }) => role),
      ['current', 'former'],
    );
    assert.deepEqual(
      (await cliJson('ca', 'list', ...place('bruma'))).trusted
        .map(({ role }: { role: string }) => role)
        .sort(),
      ['current', 'trusted', 'trusted-former'],
    );
    const retired = await rotate('--step', 'retire', '--now');
    assert.deepEqual([retired.step, retired.state, retired.deadline], ['retire', 'stable', null]);
    assert.equal((await trust()).ended[0].fingerprint, first);
  });

  it('replaces a CA whose key was stolen, and the others compare the fingerprint', async () => {
    const stolen = await current();
    const former = secret;
    secret = join(root, 'other-secret');
    writeFileSync(secret, 'battery staple\n', { mode: 0o600 });
    const replaced = await cliJson(
      ...[
        'rotate',
        'ca',
        ...place(),
        '--now',
        '--secret-file',
        former,
        '--new-secret-file',
        secret,
      ],
    );
    const known = await cliError('rotate', 'ca', ...place(), '--secret-file', former);
    assert.equal(known.code, 'CA_WRONG_PASSPHRASE');
    await cliJson('ca', 'issue', 'records', ...place(), '--secret-file', secret);
    assert.deepEqual([replaced.step, replaced.state], ['replace', 'stable']);
    const refused = await cliError('ca', 'trust', await exported(), ...place('bruma'));
    assert.equal(refused.code, 'CA_OVERLAP');
    assert.match(refused.hint, /--fingerprint/);
    const wrong = await cliError(
      ...['ca', 'trust', await exported(), ...place('bruma'), '--fingerprint', stolen],
    );
    assert.equal(wrong.code, 'CA_WRONG_FINGERPRINT');
    const told = (await current()).toUpperCase().replace(/(..)(?=.)/g, '$1:');
    const { trusted, ended } = await trust('--fingerprint', told);
    assert.deepEqual([trusted.length, ended[0].fingerprint], [1, stolen]);
  });

  it('refuses a wrong passphrase and options that do not fit, and touches nothing', async () => {
    const before = readFileSync(join(root, 'alba', 'ca.sealed'));
    const wrong = join(root, 'wrong');
    writeFileSync(wrong, 'wrong horse\n', { mode: 0o600 });
    const error = await cliError('rotate', 'ca', ...place(), '--secret-file', wrong, '--yes');
    assert.equal(error.code, 'CA_WRONG_PASSPHRASE');
    for (const args of [
      ['--step', 'forward'],
      ['--step', 'prepare', '--now'],
      ['--undo', '--now'],
      ['--undo', '--step', 'activate'],
      ['--algorithm', 'rsa'],
      ['--new-secret-file', secret],
    ])
      assert.equal((await cli('rotate', 'ca', ...place(), ...args)).code, 2, args.join(' '));
    assert.equal(
      (await cli('ca', 'trust', await exported(), ...place('bruma'), '--fingerprint', 'x')).code,
      2,
    );
    assert.equal(
      (await cliError('rotate', 'ca', '--dir', join(root, 'none'))).code,
      'CA_NOT_FOUND',
    );
    assert.deepEqual(readFileSync(join(root, 'alba', 'ca.sealed')), before);
  });

  it('refuses a peer that is not in the mesh, where an organisation can tell', async () => {
    const config = join(root, 'kelmesh.toml');
    const nobody = ['--peer', 'nobody', '--config', config, '--yes'];
    const before = readFileSync(join(root, 'alba', 'ca.sealed'));
    writeFileSync(config, 'name = "alba"\nstate = "state"\n[keystore]\nsecret-file = "key"\n');
    assert.equal((await cliError('rotate', 'ca', ...place(), ...nobody)).code, 'IDENTITY_MISSING');
    await cliJson('init', '--generate-secret', '--config', config);
    const error = await cliError('rotate', 'ca', ...place(), ...nobody);
    assert.equal(error.code, 'ROTATION_NOT_A_MEMBER');
    assert.deepEqual(readFileSync(join(root, 'alba', 'ca.sealed')), before);
    assert.equal(readdirSync(join(root, 'alba')).includes('ca.sealed.tmp'), false);
  });
}).timeout(30_000);
