/** What a command line that is wrong is told, and that a cure which means the configuration names the one in use. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'mocha';
import { loadCommands } from '#agent/cli/commands';
import { networkErrors } from '#agent/network/errors';
import { ConfigError, configErrors } from '#agent/organisation/config/errors';
import { hintWithFile } from '#agent/organisation/config/hint';
import { proofErrors } from '#agent/tunnel/proof/errors';
import { wireGuardErrors } from '#src/wireguard/errors';
import { cli, cliError } from '../../../support/machines/cli.ts';

describe('a command line that is wrong', () => {
  let dir: string;

  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-usage-'));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  it('every command says in our words that it has no such option, and points to its own help', async () => {
    for (const { name } of await loadCommands()) {
      const { exit, code, message, hint } = await cliError(...name.split(' '), '--no-such-thing');
      assert.deepEqual(
        [exit, code, message, hint],
        [
          2,
          'CLI_USAGE',
          `kelmesh ${name} has no option --no-such-thing`,
          `\`kelmesh ${name} --help\` explains it`,
        ],
      );
    }
  });

  it('an option without a command that there is not is named, wherever it stands', async () => {
    for (const line of [['--frob'], ['--json', '--frob=1'], ['--frob', 'help', 'status']]) {
      const { code, stderr } = await cli(...line);
      assert.deepEqual([code, /has no option --frob$/m.test(stderr)], [2, true], stderr);
    }
    for (const line of [['--version'], ['--help'], ['--config', 'x', '--help'], ['help', 'status']])
      assert.equal((await cli(...line)).code, 0, line.join(' '));
  });

  it('a passphrase of a CA that nobody can be asked for is not looked for in a configuration', async () => {
    for (const words of [
      ['ca', 'init', '--name', 'x'],
      ['ca', 'issue', 'x'],
    ]) {
      const { code, hint } = await cliError(...words, '--dir', join(dir, 'ca'));
      assert.equal(code, 'CONFIG_SECRET_MISSING');
      assert.match(hint, /--secret-file/);
      assert.doesNotMatch(hint, /configuration/);
    }
  });

  it('every option of every command says when it lacks its value, or has one that it does not take', async () => {
    for (const { name, options = {} } of await loadCommands())
      for (const [option, { type, value }] of Object.entries({
        ...options,
        config: { type: 'string', value: 'FILE' } as const,
      })) {
        const words = name.split(' ');
        const outcomes =
          type === 'string'
            ? [
                await cliError(...words, `--${option}`),
                await cliError(...words, `--${option}`, '--json'),
              ]
            : [await cliError(...words, `--${option}=x`)];
        for (const { exit, code, message, hint } of outcomes) {
          assert.deepEqual(
            [exit, code, hint],
            [2, 'CLI_USAGE', `\`kelmesh ${name} --help\` explains it`],
          );
          assert.ok(
            message.startsWith(
              type === 'string'
                ? `--${option} takes a value: --${option} ${value ?? 'VALUE'};`
                : `--${option} takes no value`,
            ),
            `${name}: ${message}`,
          );
        }
      }
  });

  it('points to the help of the noun, of the command, or of the program, and each of them is there', async () => {
    for (const [words, help] of [
      [
        ['mesh', 'jion', 'x'],
        ['mesh', '--help'],
      ],
      [
        ['id', 'evidence', 'lst'],
        ['id', '--help'],
      ],
      [
        ['mesh', 'join'],
        ['mesh', 'join', '--help'],
      ],
      [
        ['mesh', 'create', 'm', '--epoch-seconds', '1'],
        ['mesh', 'create', '--help'],
      ],
      [
        ['audit', 'export'],
        ['audit', 'export', '--help'],
      ],
      [['nonsense'], ['--help']],
    ] as const) {
      const { code, stderr } = await cli(...words);
      assert.equal(code, 2);
      assert.ok(
        stderr.includes(`kelmesh: hint: \`kelmesh ${help.join(' ')}\` explains it`),
        stderr,
      );
      assert.equal((await cli(...help)).code, 0, help.join(' '));
    }
  });

  it('a cure that means the configuration names the file in use, given before or behind the command, or by default', async () => {
    mkdirSync(join(dir, 'etc'));
    const config = join(dir, 'etc', 'other.toml');
    writeFileSync(config, 'name = "alba"\nstate = "state"\n');
    mkdirSync(join(dir, 'etc', 'state', 'store'), { recursive: true });
    for (const words of [
      ['id', 'show', '--config', config],
      ['--config', config, 'id', 'show'],
      [`--config=${config}`, 'id', 'show'],
    ]) {
      const { code, hint } = await cliError(...words);
      assert.equal(code, 'CONFIG_SECRET_MISSING');
      assert.ok(hint.endsWith(`(the configuration in use is ${config})`), hint);
    }
    const error = new ConfigError('CONFIG_MISSING_KEY', `${config}: name is missing`);
    assert.equal(hintWithFile(error, config), configErrors.CONFIG_MISSING_KEY);
  });

  it('where a port is taken the cure names the key that sets it', () => {
    assert.match(networkErrors.NETWORK_PORT_IN_USE, /`network\.listen`/);
    assert.match(networkErrors.NETWORK_LISTEN_FAILED, /`network\.listen`/);
    assert.match(proofErrors.PROOF_PORT_IN_USE, /`tunnel\.proof-port`/);
    assert.match(wireGuardErrors.WIREGUARD_PORT_IN_USE, /`tunnel\.port`/);
  });
});
