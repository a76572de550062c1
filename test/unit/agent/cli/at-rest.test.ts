/** Commands without a running agent: what cannot be done then is said before a passphrase is asked for. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { cliError, cliJson } from '../../../support/machines/cli.ts';

const AID = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM';

describe('without a running agent', () => {
  let dir: string;
  let config: readonly string[];

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-at-rest-'));
    writeFileSync(join(dir, 'kelmesh.toml'), 'name = "alba"\nstate = "state"\n');
    // A state directory, and no terminal to ask for the passphrase of its key store on.
    mkdirSync(join(dir, 'state', 'store'), { recursive: true });
    config = ['--config', join(dir, 'kelmesh.toml')];
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  const refusals: readonly (readonly [string, string])[] = [
    ['rotate tunnel --plan', 'CONTROL_NOT_RUNNING'],
    ['rotate psk --plan', 'CONTROL_NOT_RUNNING'],
    ['rotate all --of all --plan', 'CONTROL_NOT_RUNNING'],
    ['rotate tunnel --yes', 'CONTROL_NOT_RUNNING'],
    ['rotate status', 'CONTROL_NOT_RUNNING'],
    ['status', 'CONTROL_NOT_RUNNING'],
    ['peer list', 'CONTROL_NOT_RUNNING'],
    ['mesh invite', 'CONTROL_NOT_RUNNING'],
    ['witness add bruma', 'CONTROL_NOT_RUNNING'],
    ['revoke epoch current --reason lost --yes', 'CONTROL_NOT_RUNNING'],
    [`id query ${AID}`, 'CONTROL_NOT_RUNNING'],
    [`mesh admit ${AID}`, 'MESH_NEVER_ASKED'],
    ['mesh admit nobody --yes', 'MESH_NOT_A_MEMBER'],
    ['mesh join nonsense', 'MESH_BAD_INVITE'],
    ['revoke node bruma --yes', 'REVOKE_BAD_REASON'],
    ['watch add nobody --members', 'WATCH_BAD_SOURCE'],
    ['watch remove nobody', 'WATCH_UNKNOWN'],
    ['witness allow nobody', 'WITNESS_UNKNOWN'],
    ['id replies nobody', 'CONTROL_BAD_REQUEST'],
    ['node approve nobody', 'NODE_UNKNOWN'],
  ];
  for (const [line, code] of refusals)
    it(`${line}: ${code}, and no passphrase is asked for`, async () => {
      assert.equal((await cliError(...line.split(' '), ...config)).code, code);
    });

  it('what does need the state asks for its passphrase', async () => {
    for (const line of ['rotate id --plan', 'id show', `mesh admit ${AID} --yes`])
      assert.equal(
        (await cliError(...line.split(' '), ...config)).code,
        'CONFIG_SECRET_MISSING',
        line,
      );
  });
});

describe('the plan of a rotation at rest', () => {
  let dir: string;
  let config: readonly string[];

  before(async function () {
    this.timeout(30_000);
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-plan-'));
    writeFileSync(
      join(dir, 'kelmesh.toml'),
      'name = "alba"\nstate = "state"\n[keystore]\nsecret-file = "secret"\n',
    );
    config = ['--config', join(dir, 'kelmesh.toml')];
    await cliJson('init', '--generate-secret', ...config);
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  it('is of a member, or of nobody: a name that the charter lacks gets no plan', async function () {
    this.timeout(60_000);
    for (const kind of ['id', 'all']) {
      const words = ['rotate', kind, '--plan', ...config];
      assert.equal((await cliError(...words, '--peer', 'NOBODY')).code, 'ROTATION_NOT_A_MEMBER');
      const { steps } = await cliJson(...words);
      assert.equal(steps.length, 2);
    }
  });
});
