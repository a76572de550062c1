/** An organisation of several custodians, from cards to KERIpy, as `docs/custodians.md` tells it. */
import assert from 'node:assert/strict';
import { copyFileSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';
import type { Json } from '../support/machines/federation.ts';
import { keripyMissing, keripyStates } from '../support/machines/keripy.ts';
import { softHsmProblem } from '../support/machines/softhsm.ts';
import { skip } from '../support/skip.ts';

const THING = 'EBkPreYpZfFk66jpf3uFv7vklXKhzBrAqjsKAn2EDIPM';

describe('several custodians', function () {
  this.timeout(60_000);
  let dir: string;

  before(async function () {
    const problem = await softHsmProblem();
    if (problem !== undefined) skip(this, problem);
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-custodians-'));
    for (const name of ['alice', 'bob', 'carol', 'dave', 'org']) {
      writeFileSync(join(dir, `${name}.secret`), '482915\n', { mode: 0o600 });
      writeFileSync(
        join(dir, `${name}.toml`),
        [
          `name = "${name}"`,
          `state = "${join(dir, name)}"`,
          '[keystore]',
          `secret-file = "${join(dir, `${name}.secret`)}"`,
          ...(name === 'bob' ? ['tier = "softhsm"', 'token = "bob"'] : []),
        ].join('\n'),
      );
    }
  });

  after(async () => {
    if (dir !== undefined) await rm(dir, { recursive: true, force: true });
  });

  const at = (name: string) => join(dir, name);
  const as = (name: string, ...args: readonly string[]): Promise<Json> =>
    cliJson(...args, '--config', at(`${name}.toml`));
  const failsAs = (name: string, ...args: readonly string[]): Promise<Json> =>
    cliError(...args, '--config', at(`${name}.toml`));
  const cards = (...names: readonly string[]) => names.flatMap((name) => ['--custodian', at(name)]);

  it('begins with two of three keys, in two files and a token', async () => {
    for (const name of ['alice', 'bob', 'carol'])
      await as(name, 'id', 'custodian', 'init', '--out', at(`${name}.card`));
    const proposed = await as(
      'org',
      ...['id', 'propose', 'inception', ...cards('alice.card', 'bob.card', 'carol.card')],
      ...['--threshold', '2', '--out', at('icp')],
    );
    assert.deepEqual(
      proposed.signers.map((signer: Json) => [signer.name, signer.signed]),
      [
        ['alice', false],
        ['bob', false],
        ['carol', false],
      ],
    );
    const unsigned = await failsAs('org', 'id', 'submit', at('icp'));
    assert.equal(unsigned.code, 'CUSTODY_AWAITS_SIGNATURES');
    assert.match(unsigned.message, /missing: alice, bob, carol/);

    copyFileSync(at('icp'), at('icp.bob'));
    assert.equal((await failsAs('alice', 'id', 'sign', at('icp'))).code, 'CUSTODY_NOT_CONFIRMED');
    const first = await as('alice', 'id', 'sign', at('icp'), '--yes');
    assert.equal(first.complete, false);
    const one = await failsAs('org', 'id', 'submit', at('icp'));
    assert.match(one.message, /missing: bob, carol/);
    await as('bob', 'id', 'sign', at('icp.bob'), '--yes');
    assert.equal((await failsAs('dave', 'id', 'sign', at('icp'), '--yes')).code, 'CUSTODY_MISSING');

    const submitted = await as('org', 'id', 'submit', at('icp'), at('icp.bob'));
    assert.deepEqual([submitted.verdict, submitted.sn], ['accepted', 0]);
    assert.equal((await as('org', 'id', 'show')).signingThreshold, '2');
  });

  it('seals nothing that a custodian cannot read, unless it says so', async () => {
    await as('org', 'id', 'propose', 'interaction', '--seal', THING, '--out', at('ixn'));
    const refused = await failsAs('carol', 'id', 'sign', at('ixn'), '--yes');
    assert.equal(refused.code, 'CUSTODY_UNEXPLAINED_SEALS');
    const seal = ['id', 'sign', at('ixn'), '--yes', '--allow-unknown-seals'];
    await as('carol', ...seal);
    await as('bob', ...seal);
    const { stdout } = await cli('id', 'propose', 'show', at('ixn'));
    assert.match(stdout, new RegExp(`UNKNOWN: .*${THING}`));
    assert.match(
      stdout,
      /1\. alice .* has not signed\n.*2\. bob .* has signed\n.*3\. carol .* has signed/,
    );
    assert.equal((await as('org', 'id', 'submit', at('ixn'))).verdict, 'accepted');
    assert.equal((await as('org', 'id', 'submit', at('ixn'))).verdict, 'duplicate');
  });

  it('approves a node, which then acts under the organisation', async () => {
    const { aid } = await as('org', 'id', 'show');
    const state = ['--state', at('node'), '--generate-secret', '--config', at('node.toml')];
    const request = ['node', 'add', 'node', '--organisation', aid, '--out', at('request')];
    const node = await cliJson(...request, ...state);
    await as('org', 'id', 'propose', 'interaction', '--approve', at('request'), '--out', at('ok'));
    const { explanation } = await as('alice', 'id', 'sign', at('ok'), '--yes');
    assert.match(
      explanation.join('\n'),
      new RegExp(`approves the birth of the node AID ${node.aid}`),
    );
    await as('carol', 'id', 'sign', at('ok'), '--yes');
    await as('org', 'id', 'submit', at('ok'));
    await as('org', 'id', 'export', '--out', at('answer'));
    await cliJson('node', 'accept', at('answer'), '--config', at('node.toml'));
    const shown = await cliJson('id', 'show', '--config', at('node.toml'));
    assert.deepEqual([shown.aid, shown.delegator], [node.aid, aid]);
  });

  it('rotates, one custodian for another', async () => {
    for (const name of ['alice', 'bob'])
      await as(name, 'id', 'custodian', 'next', '--out', at(`${name}.next`));
    await as('dave', 'id', 'custodian', 'init', '--out', at('dave.card'));
    const rotation = await as(
      'org',
      ...['id', 'propose', 'rotation', ...cards('dave.card', 'alice.next', 'bob.next')],
      ...['--threshold', '1/2,1/2,1/2', '--out', at('rot')],
    );
    assert.deepEqual(
      rotation.signers.map(({ name }: Json) => name),
      ['dave', 'alice', 'bob'],
    );
    assert.match(rotation.explanation.join('\n'), /is given up: its custodian leaves/);
    await as('dave', 'id', 'sign', at('rot'), '--yes');
    await as('bob', 'id', 'sign', at('rot'), '--yes');
    const carol = await failsAs('carol', 'id', 'sign', at('rot'), '--yes');
    assert.equal(carol.code, 'CUSTODY_NOT_A_SIGNER');
    // Two have signed, and one of them was not committed to.
    const waiting = await failsAs('org', 'id', 'submit', at('rot'));
    assert.equal(waiting.code, 'CUSTODY_AWAITS_SIGNATURES');
    const last = await as('alice', 'id', 'sign', at('rot'), '--yes');
    assert.equal(last.complete, true);
    assert.equal((await as('org', 'id', 'submit', at('rot'))).verdict, 'accepted');

    assert.equal(
      (await failsAs('alice', 'id', 'custodian', 'next', '--out', at('again'))).code,
      'CUSTODY_LOG_NEEDED',
    );
    await as('org', 'id', 'export', '--out', at('log.cesr'));
    const card = await as(
      ...(['alice', 'id', 'custodian', 'next'] as const),
      ...['--log', at('log.cesr'), '--out', at('again')],
    );
    const { keys, nextDigests } = await as('org', 'id', 'show');
    assert.equal(keys.includes(card.key), false);
    assert.equal(nextDigests.includes(card.next), false);
  });

  it('has a log that anyone verifies', async () => {
    const shown = await as('org', 'id', 'show');
    const report = await cliJson('id', 'verify', at('log.cesr'));
    assert.deepEqual([report.refused, report.waiting], [[], []]);
    assert.deepEqual(
      report.aids.map(({ aid, sn, said }: Json) => ({ aid, sn, said })),
      [{ aid: shown.aid, sn: 3, said: shown.said }],
    );
  });

  it('has a log that KERIpy verifies', async function () {
    this.timeout(300_000);
    const missing = await keripyMissing();
    if (missing !== undefined) skip(this, missing);
    const shown = await as('org', 'id', 'show');
    const [state] = await keripyStates([readFileSync(at('log.cesr'))]);
    assert.deepEqual(
      [state?.aid, state?.sn, state?.said, state?.keys, state?.nextDigests],
      [shown.aid, 3, shown.said, shown.keys, shown.nextDigests],
    );
  });

  it('runs no agent under it, and says why', async () => {
    for (const command of [['up'], ['id', 'rotate', '--yes'], ['mesh', 'create', 'm']])
      assert.equal((await failsAs('org', ...command)).code, 'CUSTODY_NO_AGENT');
    assert.equal(existsSync(at('org/keys.sealed')), false);
  });
});
