import assert from 'node:assert/strict';
import {
  existsSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { askAgent, RemoteError } from '#agent/control/client';
import { ControlError } from '#agent/control/errors';
import { MAX_REQUEST } from '#agent/control/protocol';
import { type Handler, serveControl } from '#agent/control/server';

const echo: Handler = async ({ verb, args }) => ({ verb, args });
const ignore = () => undefined;

/** Sends `text` as it is and gives everything that comes back. */
function raw(path: string, text: string | Uint8Array, end = true): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    let answer = '';
    socket.setEncoding('utf8');
    socket.on('data', (chunk) => {
      answer += chunk;
    });
    socket.on('end', () => resolve(answer));
    socket.on('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EPIPE' || error.code === 'ECONNRESET' ? resolve(answer) : reject(error),
    );
    socket.write(text);
    if (end) socket.end();
  });
}

describe('control socket', () => {
  let dir = '';
  let path = '';
  const open: AsyncDisposable[] = [];
  const servers: Server[] = [];

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'kelmesh-control-'));
    path = join(dir, 'state', 'control.sock');
  });
  afterEach(async () => {
    for (const server of open.splice(0)) await server[Symbol.asyncDispose]();
    for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
    rmSync(dir, { recursive: true, force: true });
  });

  async function serve(handler: Handler = echo): Promise<AsyncDisposable> {
    const server = await serveControl(path, handler);
    open.push(server);
    return server;
  }

  it('is for its owner alone', async () => {
    const umask = process.umask(0);
    try {
      await serve();
      assert.equal(process.umask(), 0, 'the mask of the process is as it was');
    } finally {
      process.umask(umask);
    }
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal(statSync(join(dir, 'state')).mode & 0o777, 0o700);
  });

  it('is held by nobody who says nothing: the oldest gives way, and each has a deadline', async () => {
    const server = await serveControl(path, echo, { requestMs: 200, waiting: 3 });
    open.push(server);
    const silent = Array.from({ length: 6 }, () => raw(path, '{', false));
    await Promise.all(silent.slice(0, 3));
    assert.deepEqual(JSON.parse(await raw(path, '{"verb":"ping","args":{}}\n')), {
      result: { verb: 'ping', args: {} },
    });
    await Promise.all(silent);
  });

  it('answers a request with progress and a result', async () => {
    await serve(async (request, progress) => {
      progress('one');
      progress('two\nlines');
      return (await echo(request, progress)) as never;
    });
    const told: string[] = [];
    const request = { verb: 'mesh.show', args: { name: 'ä\n"', list: [1, null, true] } };
    assert.deepEqual(await askAgent(path, request, (text) => told.push(text)), request);
    assert.deepEqual(told, ['one', 'two\nlines']);
  });

  it('answers many at once, and large results', async () => {
    await serve(async ({ args }) => 'x'.repeat(Number(args['n'])));
    const sizes = [0, 1, 65_536, 3_000_000];
    const answers = await Promise.all(
      sizes.map((n) => askAgent(path, { verb: 'v', args: { n } }, ignore)),
    );
    assert.deepEqual(
      answers.map((answer) => String(answer).length),
      sizes,
    );
  });

  it('passes errors on with code, message and cure', async () => {
    await serve(async ({ verb }) => {
      if (verb === 'known')
        throw new ControlError('CONTROL_NOT_RUNNING', 'this needs the running agent', {
          hint: 'do this',
        });
      throw new TypeError('oops');
    });
    await assert.rejects(
      askAgent(path, { verb: 'known', args: {} }, ignore),
      (error: RemoteError) => {
        assert.ok(error instanceof RemoteError);
        assert.deepEqual(
          [error.code, error.message, error.hint],
          ['CONTROL_NOT_RUNNING', 'this needs the running agent', 'do this'],
        );
        return true;
      },
    );
    await assert.rejects(askAgent(path, { verb: 'unknown', args: {} }, ignore), {
      code: 'INTERNAL',
      message: 'oops',
      hint: '',
    });
  });

  it('lets no second agent in', async () => {
    await serve();
    await assert.rejects(serveControl(path, echo), { code: 'CONTROL_ALREADY_RUNNING' });
    assert.deepEqual(await askAgent(path, { verb: 'still', args: {} }, ignore), {
      verb: 'still',
      args: {},
    });
  });

  it('replaces the socket of an agent that died', async () => {
    await serve();
    // A dead one: the file stays when its server has no say in it any more.
    const stale = join(dir, 'stale.sock');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(stale, resolve));
    renameSync(stale, `${stale}.kept`);
    await new Promise((resolve) => server.close(resolve));
    renameSync(`${stale}.kept`, stale);
    path = stale;
    await serve();
    assert.deepEqual(await askAgent(stale, { verb: 'v', args: {} }, ignore), {
      verb: 'v',
      args: {},
    });
  });

  it('removes nothing that is no socket', async () => {
    const file = join(dir, 'precious.txt');
    writeFileSync(file, 'precious');
    await assert.rejects(serveControl(file, echo), { code: 'CONTROL_START_FAILED' });
    assert.equal(readFileSync(file, 'utf8'), 'precious');
    await assert.rejects(serveControl(dir, echo), { code: 'CONTROL_START_FAILED' });
  });

  it('says so when the path is too long for a socket', async () => {
    await assert.rejects(serveControl(join(dir, 'x'.repeat(120)), echo), {
      code: 'CONTROL_START_FAILED',
    });
  });

  it('is gone when the agent ends, and lets the answer out that is under way', async () => {
    const release = Promise.withResolvers<void>();
    const server = await serve(async () => {
      await release.promise;
      return 'last words';
    });
    const answer = askAgent(path, { verb: 'down', args: {} }, ignore);
    await new Promise((resolve) => setTimeout(resolve, 20));
    release.resolve();
    await server[Symbol.asyncDispose]();
    assert.equal(await answer, 'last words');
    assert.ok(!existsSync(path));
    await assert.rejects(askAgent(path, { verb: 'v', args: {} }, ignore), {
      code: 'CONTROL_NOT_RUNNING',
    });
  });

  const garbage: Readonly<Record<string, string | Uint8Array>> = {
    nothing: '',
    'an empty line': '\n',
    'no JSON': 'hello\n',
    'a number': '5\n',
    null: 'null\n',
    'a list': '[]\n',
    'no verb': '{"args":{}}\n',
    'no arguments': '{"verb":"x"}\n',
    'a verb that is a number': '{"verb":5,"args":{}}\n',
    'arguments that are null': '{"verb":"x","args":null}\n',
    'arguments that are a list': '{"verb":"x","args":[]}\n',
    'arguments that are a text': '{"verb":"x","args":"y"}\n',
    'two requests': '{"verb":"x","args":{}}\n{"verb":"y","args":{}}\n',
    'half a request': '{"verb":"x","ar',
    'bytes that are no text': new Uint8Array([0xff, 0xfe, 0x00, 0x0a]),
    'deep nesting': `${'['.repeat(50_000)}\n`,
  };
  for (const [what, text] of Object.entries(garbage)) {
    it(`refuses ${what}`, async () => {
      let asked = 0;
      await serve(async () => {
        asked += 1;
        return null;
      });
      const answer = JSON.parse(await raw(path, text));
      assert.equal(answer.error.code, 'CONTROL_BAD_REQUEST');
      assert.ok(!JSON.stringify(answer).includes('hello'));
      assert.equal(asked, 0);
      assert.equal(await askAgent(path, { verb: 'v', args: {} }, ignore), null);
    });
  }

  it('reads 64 KiB and no more, also when the line never ends', async () => {
    await serve(async ({ args }) => String(args['text']).length);
    const fits = MAX_REQUEST - JSON.stringify({ verb: 'v', args: { text: '' } }).length - 1;
    assert.equal(
      await askAgent(path, { verb: 'v', args: { text: 'x'.repeat(fits) } }, ignore),
      fits,
    );
    await assert.rejects(
      askAgent(path, { verb: 'v', args: { text: 'x'.repeat(fits + 1) } }, ignore),
      { code: 'CONTROL_BAD_REQUEST' },
    );
    await assert.rejects(
      askAgent(path, { verb: 'v', args: { text: 'ä'.repeat(fits / 2 + 1) } }, ignore),
      { code: 'CONTROL_BAD_REQUEST' },
    );
    const answer = await raw(path, 'x'.repeat(MAX_REQUEST * 2), false);
    assert.equal(JSON.parse(answer).error.code, 'CONTROL_BAD_REQUEST');
  });

  it('survives one who leaves before the answer', async () => {
    const left = Promise.withResolvers<void>();
    await serve(async () => {
      await left.promise;
      return 'x'.repeat(100_000);
    });
    const socket = connect(path);
    socket.write('{"verb":"x","args":{}}\n');
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    left.resolve();
    assert.equal(String(await askAgent(path, { verb: 'v', args: {} }, ignore)).length, 100_000);
  });

  describe('client', () => {
    /** Something else that answers at the path. */
    async function answering(...chunks: readonly string[]): Promise<void> {
      path = join(dir, 'other.sock');
      const server = createServer((socket) => {
        socket.on('error', ignore);
        socket.resume();
        for (const chunk of chunks) socket.write(chunk);
        socket.end();
      });
      servers.push(server);
      await new Promise<void>((resolve) => server.listen(path, resolve));
    }
    const ask = () => askAgent(path, { verb: 'v', args: {} }, ignore);

    it('says that no agent runs', async () => {
      await assert.rejects(ask(), { code: 'CONTROL_NOT_RUNNING' });
      writeFileSync(join(dir, 'file'), '');
      path = join(dir, 'file');
      await assert.rejects(ask(), { code: 'CONTROL_NOT_RUNNING' });
    });

    it('says that the agent ended before it answered', async () => {
      await answering('{"progress":"x"}\n', '{"resu');
      await assert.rejects(ask(), { code: 'CONTROL_NOT_RUNNING' });
    });

    for (const line of ['hello', '5', 'null', '[]', '{}', '{"other":1}']) {
      it(`refuses ${line} as an answer`, async () => {
        await answering(`${line}\n`);
        await assert.rejects(ask(), { code: 'CONTROL_BAD_REQUEST' });
      });
    }

    it('puts an answer together from its pieces', async () => {
      await answering('{"progr', 'ess":"x"}\n{"result":', '[1,2', ']}\n');
      assert.deepEqual(await ask(), [1, 2]);
    });
  });
});
