import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import type { ReadStream } from 'node:tty';
import { format, inspect } from 'node:util';
import { after, before, describe, it } from 'mocha';
import { askNewSecret, askSecret, readSecretFile } from '#agent/organisation/config/secrets';
import { Secret } from '#src/secret';

const textOf = (secret: Secret) => Buffer.from(secret.expose()).toString();

describe('secret file', () => {
  let dir = '';
  before(() => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-secret-'));
  });
  after(() => rmSync(dir, { recursive: true, force: true }));

  function file(content: string | Uint8Array, mode = 0o600): string {
    const path = join(dir, 'secret');
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  }

  it('gives its first line', () => {
    for (const content of [
      'correct horse',
      'correct horse\n',
      'correct horse\r\n',
      'correct horse\nsecond line',
    ]) {
      assert.equal(textOf(readSecretFile(file(content))), 'correct horse');
    }
    assert.equal(
      textOf(readSecretFile(file(` \tä${'x'.repeat(1_000)}`))),
      ` \tä${'x'.repeat(1_000)}`,
    );
    assert.equal(readSecretFile(file(`${'x'.repeat(1_024)}\r\nmore`)).length, 1_024);
  });

  it('is refused when others may read, write or run it', () => {
    for (const mode of [0o604, 0o640, 0o644, 0o602, 0o620, 0o601, 0o610, 0o777]) {
      assert.throws(() => readSecretFile(file('secret', mode)), { code: 'CONFIG_SECRET_EXPOSED' });
    }
    for (const mode of [0o600, 0o400])
      assert.equal(textOf(readSecretFile(file('secret', mode))), 'secret');
  });

  it('is refused when it is empty, too long, a directory or not there, and the error does not show it', () => {
    for (const content of ['', '\n', '\r\n', '\nsecond', 'topsecret'.repeat(200)]) {
      assert.throws(
        () => readSecretFile(file(content)),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'CONFIG_SECRET_MISSING');
          assert.ok(!inspect(error).includes('topsecret'));
          return true;
        },
      );
    }
    assert.throws(() => readSecretFile(join(dir, 'none')), { code: 'CONFIG_SECRET_MISSING' });
    chmodSync(dir, 0o700);
    assert.throws(() => readSecretFile(dir), { code: 'CONFIG_SECRET_MISSING' });
  });
});

class Terminal extends PassThrough {
  readonly isTTY = true;
  isRaw = false;
  setRawMode(mode: boolean): this {
    this.isRaw = mode;
    return this;
  }
}

describe('secret from the terminal', () => {
  const ask = async (...typed: readonly string[]) => {
    const input = new Terminal();
    const output = new PassThrough();
    let shown = '';
    output.on('data', (chunk) => {
      shown += String(chunk);
    });
    const asked = askSecret('Passphrase', input as unknown as ReadStream, output);
    for (const piece of typed) input.write(piece);
    input.end();
    try {
      const secret = textOf(await asked);
      await new Promise((resolve) => setImmediate(resolve));
      return { secret, shown };
    } finally {
      assert.equal(input.isRaw, false);
    }
  };

  it('reads up to the line end and shows nothing of it', async () => {
    const { secret, shown } = await ask('cor', 'rect\r');
    assert.equal(secret, 'correct');
    assert.equal(shown, 'Passphrase: \n');
  });

  it('takes back what was deleted', async () => {
    assert.equal((await ask('\x7fabX\x7fc\x08d\n')).secret, 'abd');
  });

  it('asks for a new one twice', async () => {
    const twice = async (...lines: readonly string[]) => {
      const input = new Terminal();
      const output = new PassThrough();
      const left = [...lines];
      output.on('data', (shown) => {
        if (!String(shown).endsWith(': ')) return;
        const line = left.shift();
        if (line === undefined) input.end();
        else input.write(`${line}\r`);
      });
      return textOf(await askNewSecret('New', input as unknown as ReadStream, output));
    };
    assert.equal(await twice('correct', 'correct'), 'correct');
    await assert.rejects(twice('correct', 'corect'), { code: 'CONFIG_SECRET_MISSING' });
    await assert.rejects(twice('correct'), { code: 'CONFIG_SECRET_MISSING' });
  });

  it('ends without a secret when interrupted, closed, without a letter or without a terminal', async () => {
    const missing = { code: 'CONFIG_SECRET_MISSING' };
    await assert.rejects(ask('abc\x03'), missing);
    await assert.rejects(ask('abc'), missing);
    await assert.rejects(ask('a\x7f\r'), missing);
    const pipe = new PassThrough() as unknown as ReadStream;
    await assert.rejects(askSecret('PIN', pipe, new PassThrough()), missing);
  });
});

describe('Secret', () => {
  const bytes = () => new Uint8Array(Buffer.from('TOPSECRETTOPSECRETTOPSECRET'));
  const hex = Buffer.from(bytes()).toString('hex');

  it('is never shown, however it is printed', () => {
    const secret = new Secret(bytes());
    const holder = { secret, list: [secret], map: new Map([['k', secret]]) };
    const prints = [
      String(secret),
      `${secret as unknown as string}`,
      JSON.stringify(secret),
      JSON.stringify(holder),
      inspect(secret),
      inspect(holder, { depth: 9, showHidden: true, getters: true }),
      format('%s %o %O %j', secret, secret, secret, secret),
      inspect(new Error('x', { cause: holder }), { depth: 9, showHidden: true }),
      JSON.stringify(Object.entries(secret)),
      JSON.stringify(structuredClone({ ...secret })),
    ];
    for (const print of prints) {
      assert.ok(
        !print.includes('TOPSECRET') &&
          !print.includes(hex) &&
          !/84,\s*79,\s*80/.test(print) &&
          !print.includes('54 4f 50'),
        print,
      );
    }
  });

  it('copies or takes its bytes, and is zero after disposal', () => {
    const source = bytes();
    const copy = new Secret(source);
    source.fill(1);
    assert.equal(textOf(copy), 'TOPSECRETTOPSECRETTOPSECRET');
    const taken = bytes();
    const secret = Secret.take(taken);
    assert.ok(taken.every((byte) => byte === 0));
    assert.ok(secret.equals(copy));
    assert.ok(
      !secret.equals(new Secret(new Uint8Array(27))) &&
        !secret.equals(new Secret(new Uint8Array(5))),
    );
    secret[Symbol.dispose]();
    assert.ok(secret.expose().every((byte) => byte === 0));
  });
});
