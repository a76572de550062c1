/** `kelmesh rosenpass` as a person meets it: keys made and kept, an exchange between two processes, what goes wrong. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { after, before, describe, it } from 'mocha';
import { makeKeyPair } from '#src/rosenpass/mceliece/key-pair';
import { writeKeyPair } from '#src/rosenpass/program/key-files';
import { rosenpassKeys } from '../support/kit/rosenpass-pair.ts';
import { cli, cliError, cliJson } from '../support/machines/cli.ts';

const KELMESH = fileURLToPath(new URL('../../deploy/kelmesh.mjs', import.meta.url));
const WAIT_MS = 60_000;

describe('kelmesh rosenpass', () => {
  let dir: string;
  const path = (name: string) => join(dir, name);
  const put = (name: string, content: Uint8Array | string, mode = 0o600) => {
    writeFileSync(path(name), content, { mode });
    return path(name);
  };

  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'kelmesh-rosenpass-'));
    for (const [at, { publicKey, secretKey }] of rosenpassKeys().entries()) {
      put(`${at}.pk`, publicKey);
      put(`${at}.sk`, secretKey);
    }
  });

  after(() => rm(dir, { recursive: true, force: true }));

  describe('gen-keys', () => {
    const files = () => ['--public-key', path('new.pk'), '--secret-key', path('new.sk')];

    it('makes a pair, keeps the one that is there, and replaces it when told to', async function () {
      this.timeout(WAIT_MS);
      const made = await cliJson('rosenpass', 'gen-keys', ...files());
      assert.equal(made.schema, 'kelmesh.rosenpass-keys/1');
      assert.match(made.peerIds.V02, /^[A-Za-z0-9+/]{43}=$/);
      assert.equal(statSync(path('new.pk')).size, 524_160);
      assert.equal(statSync(path('new.sk')).size, 13_568);
      assert.equal(statSync(path('new.sk')).mode & 0o777, 0o600);
      const before = readFileSync(path('new.sk'));
      const refused = await cliError('rosenpass', 'gen-keys', ...files());
      assert.equal(refused.code, 'FILE_EXISTS');
      assert.ok(refused.message.includes('new.pk') && refused.message.includes('new.sk'));
      assert.deepEqual(readFileSync(path('new.sk')), before);
      await cliJson('rosenpass', 'gen-keys', '--force', ...files());
      assert.notDeepEqual(readFileSync(path('new.sk')), before);
    });

    it('takes the names from a configuration', async function () {
      this.timeout(WAIT_MS);
      const toml = `public_key = "${path('named.pk')}"\nsecret_key = "${path('named.sk')}"\n`;
      const { code, stdout } = await cli('rosenpass', 'gen-keys', put('named.toml', toml));
      assert.equal(code, 0);
      assert.ok(stdout.includes('peer id (V02)'));
      assert.equal(statSync(path('named.pk')).size, 524_160);
    });

    it('needs a place for each of the two', async () => {
      for (const args of [[], ['--public-key', 'x'], ['--public-key', 'x', '--secret-key', 'x']])
        assert.equal((await cli('rosenpass', 'gen-keys', ...args)).code, 2);
    });

    it('leaves a secret key without a public one when it is stopped between the two, never the other way', async function () {
      this.timeout(WAIT_MS);
      using pair = await makeKeyPair({ bytes: (length) => new Uint8Array(randomBytes(length)) });
      // The place of the public key is no directory: its write fails as a crash would.
      const places = { publicKey: join(path('0.pk'), 'x'), secretKey: path('half.sk') };
      await assert.rejects(writeKeyPair(places, pair, true), { code: 'FILE_NOT_FOUND' });
      assert.ok(existsSync(path('half.sk')));
    });
  });

  describe('exchange-config', () => {
    const toml = (own: number, listen: string, ...peer: readonly string[]) =>
      [
        `public_key = "${own}.pk"`,
        `secret_key = "${own}.sk"`,
        `listen = ["${listen}"]`,
        'verbosity = "Verbose"',
        '[[peers]]',
        `public_key = "${1 - own}.pk"`,
        `key_out = "${own}.key"`,
        ...peer,
      ].join('\n');

    it('puts one key out at two ends, each whole and for its owner alone, and ends on a signal', async function () {
      this.timeout(2 * WAIT_MS);
      put('psk', `${randomBytes(32).toString('base64')}\n`);
      put('0.key', 'what was there before', 0o644);
      const psk = 'pre_shared_key = "psk"';
      put('1.toml', toml(1, '127.0.0.1:0', psk, 'exchange_command = ["false"]'));
      await using responder = new Started('1.toml', dir);
      const port = await responder.port();
      put('0.toml', toml(0, '127.0.0.1:0', psk, `endpoint = "localhost:${port}"`));
      await using initiator = new Started('0.toml', dir);
      const lines = [await initiator.firstLine(), await responder.firstLine()];
      for (const [at, line] of lines.entries())
        assert.match(
          line,
          new RegExp(`^output-key peer [A-Za-z0-9+/]{43}= key-file "${at}\\.key" exchanged$`),
        );
      const keys = [0, 1].map((at) => readFileSync(path(`${at}.key`), 'utf8'));
      assert.match(keys[0] ?? '', /^[A-Za-z0-9+/]{43}=$/);
      assert.equal(keys[0], keys[1]);
      for (const at of [0, 1]) assert.equal(statSync(path(`${at}.key`)).mode & 0o777, 0o600);
      assert.ok(responder.said.includes('exchange_command is not run'));
      assert.deepEqual([await initiator.end('SIGINT'), await responder.end('SIGTERM')], [0, 0]);
      const said = initiator.said + responder.said + lines.join('');
      for (const secret of [keys[0] ?? '', readFileSync(path('psk'), 'utf8').trim()])
        assert.ok(!said.includes(secret));
      assert.deepEqual(
        [0, 1].map((at) => readFileSync(path(`${at}.key`), 'utf8')),
        keys,
        'they stay',
      );
    });

    it('says when a key is not in WireGuard, and puts it into its file all the same', async function () {
      this.timeout(2 * WAIT_MS);
      const peer = Buffer.alloc(32, 1).toString('base64');
      put('1.toml', toml(1, '127.0.0.1:0', 'device = "kmnone0"', `peer = "${peer}"`));
      await using responder = new Started('1.toml', dir);
      put('0.toml', toml(0, '127.0.0.1:0', `endpoint = "127.0.0.1:${await responder.port()}"`));
      await using initiator = new Started('0.toml', dir);
      await initiator.firstLine();
      assert.match(await responder.firstLine(), / exchanged$/);
      await responder.saying(/ROSENPASS_OUTPUT_FAILED/);
      assert.equal(readFileSync(path('1.key'), 'utf8'), readFileSync(path('0.key'), 'utf8'));
    });

    it('says what is wrong before it begins', async function () {
      this.timeout(WAIT_MS);
      put('short.pk', 'short');
      put('bad.psk', 'no key');
      const own = `public_key = "${path('0.pk')}"\nsecret_key = "${path('0.sk')}"\n`;
      const peer = `[[peers]]\npublic_key = "${path('1.pk')}"\n`;
      const rows: readonly (readonly [string, string])[] = [
        ['ROSENPASS_BAD_CONFIG', 'x = 1'],
        ['FILE_NOT_FOUND', `${own}[[peers]]\npublic_key = "${path('none')}"`],
        ['ROSENPASS_BAD_KEY', `${own}[[peers]]\npublic_key = "${path('short.pk')}"`],
        ['ROSENPASS_BAD_KEY', `public_key = "${path('1.pk')}"\nsecret_key = "${path('0.sk')}"`],
        ['ROSENPASS_BAD_KEY', `${own}${peer}pre_shared_key = "${path('bad.psk')}"`],
        ['ROSENPASS_NO_ADDRESS', `${own}${peer}endpoint = "name.invalid:1"`],
        ['ROSENPASS_NO_ADDRESS', `${own}listen = ["127.0.0.1:0"]\n${peer}endpoint = "[::1]:1"`],
        ['ROSENPASS_NO_SOCKET', `${own}listen = ["192.0.2.1:1"]`],
      ];
      for (const [code, text] of rows) {
        const error = await cliError('rosenpass', 'exchange-config', put('wrong.toml', text));
        assert.equal(error.code, code, error.message);
        assert.ok(error.hint.length > 10);
        assert.ok(!error.message.includes('no key'));
      }
      const { code } = await cliError('rosenpass', 'exchange-config', path('nowhere.toml'));
      assert.equal(code, 'FILE_NOT_FOUND');
    });

    it('names peers that have one key', async function () {
      this.timeout(WAIT_MS);
      put('twice.toml', toml(1, '127.0.0.1:0', '[[peers]]', 'public_key = "0.pk"'));
      await using one = new Started('twice.toml', dir);
      await one.saying(/peers\[1\]: expected a public key of its own, .*\(ROSENPASS_BAD_CONFIG\)/);
    });

    it('names secrets that others can read', async function () {
      this.timeout(WAIT_MS);
      chmodSync(path('1.sk'), 0o644);
      put('open.toml', toml(1, '127.0.0.1:0'));
      await using one = new Started('open.toml', dir);
      await one.port();
      assert.match(one.said, /others can read 1\.sk: chmod 600/);
    });
  });
});

/** An exchange as a process. */
class Started implements AsyncDisposable {
  readonly #process;
  readonly #lines: string[] = [];
  said = '';

  constructor(config: string, cwd: string) {
    this.#process = spawn(process.execPath, [KELMESH, 'rosenpass', 'exchange-config', config], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    createInterface(this.#process.stdout).on('line', (line) => this.#lines.push(line));
    this.#process.stderr.setEncoding('utf8').on('data', (chunk: string) => {
      this.said += chunk;
    });
  }

  async port(): Promise<number> {
    await this.#until(() => /listening on \S+:\d+\n/.test(this.said));
    return Number(/listening on \S+:(\d+)\n/.exec(this.said)?.[1]);
  }

  async firstLine(): Promise<string> {
    await this.#until(() => this.#lines.length > 0);
    return this.#lines[0] ?? '';
  }

  async saying(wanted: RegExp): Promise<void> {
    await this.#until(() => wanted.test(this.said));
  }

  /** @returns exit code */
  async end(signal: NodeJS.Signals): Promise<number | null> {
    const end = once(this.#process, 'close');
    this.#process.kill(signal);
    return ((await end) as [number | null])[0];
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null && this.#process.signalCode === null)
      await this.end('SIGTERM');
  }

  async #until(condition: () => boolean): Promise<void> {
    const end = performance.now() + WAIT_MS;
    while (!condition()) {
      assert.ok(performance.now() < end && this.#process.exitCode === null, this.said);
      await sleep(50);
    }
  }
}
