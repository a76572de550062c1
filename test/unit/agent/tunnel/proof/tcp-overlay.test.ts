import assert from 'node:assert/strict';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { afterEach, describe, it } from 'mocha';
import { MAX_OVERLAY_MESSAGE, type OverlayStream } from '#agent/tunnel/proof/overlay';
import { TcpOverlay } from '#agent/tunnel/proof/tcp-overlay';
import { concatBytes, uint32be, utf8 } from '#src/bytes';

const HERE = '127.0.0.1';
const THERE = '127.0.0.2';

type Handler = (stream: OverlayStream) => Promise<void>;

const text = (message: Uint8Array | undefined) => message && Buffer.from(message).toString();
const framed = (message: Uint8Array) => concatBytes(uint32be(message.length), message);

/** Undefined, or the error with which the stream ended: a connection that was cut is both. */
async function ended(stream: OverlayStream): Promise<boolean> {
  return (await stream.receive().catch(() => undefined)) === undefined;
}

async function unusedPort(): Promise<number> {
  const server = createServer().listen(0, HERE);
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

describe('overlay on TCP', () => {
  let open: AsyncDisposableStack | undefined;

  afterEach(async () => {
    await open?.disposeAsync();
    open = undefined;
  });

  async function serve(handler: Handler, limits: ConstructorParameters<typeof TcpOverlay>[1] = {}) {
    open = new AsyncDisposableStack();
    const stack = open;
    const port = await unusedPort();
    const overlay = new TcpOverlay(port, limits);
    const server = stack.use(await overlay.listen(THERE, handler));
    const ask = async () => {
      const stream = await overlay.connect(HERE, THERE);
      stack.defer(() => stream.close());
      return stream;
    };
    /** A peer that writes what it likes. */
    const raw = async (): Promise<Socket> => {
      const socket = connect({ host: THERE, port, localAddress: HERE });
      socket.on('error', () => undefined).resume();
      stack.defer(() => void socket.destroy());
      await once(socket, 'connect');
      return socket;
    };
    return { overlay, server, ask, raw, stack };
  }

  /** A handler that sends back what it gets, and what each of its streams came to. */
  function echo() {
    const results: Promise<string>[] = [];
    const handler: Handler = async (stream) => {
      const { promise, resolve } = Promise.withResolvers<string>();
      results.push(promise);
      try {
        for (let got = await stream.receive(); got !== undefined; got = await stream.receive())
          await stream.send(got);
        resolve('closed');
      } catch (error) {
        resolve((error as { code?: string }).code ?? 'error');
        throw error;
      } finally {
        stream.close();
      }
    };
    return { handler, results };
  }

  it('carries messages in order, from the address that was asked for to the one that it names', async () => {
    const remotes: string[] = [];
    const { handler } = echo();
    const { ask } = await serve((stream) => {
      remotes.push(stream.remote);
      return handler(stream);
    });
    const stream = await ask();
    assert.equal(stream.remote, THERE);
    for (const word of ['one', '', 'three']) await stream.send(utf8(word));
    for (const word of ['one', '', 'three']) assert.equal(text(await stream.receive()), word);
    assert.deepEqual(remotes, [HERE]);
  });

  it('takes messages however the bytes arrive', async () => {
    const got: (string | undefined)[] = [];
    const { promise, resolve } = Promise.withResolvers<void>();
    const { raw } = await serve(async (stream) => {
      for (let i = 0; i < 3; i++) got.push(text(await stream.receive()));
      resolve();
    });
    const socket = await raw();
    socket.setNoDelay(true);
    const bytes = concatBytes(framed(utf8('a')), framed(utf8('bc')), framed(utf8('def')));
    for (const byte of bytes.subarray(0, 9)) {
      socket.write(Uint8Array.of(byte));
      await new Promise((next) => setImmediate(next));
    }
    socket.write(bytes.subarray(9));
    await promise;
    assert.deepEqual(got, ['a', 'bc', 'def']);
  });

  it('takes a message of the greatest length, and cuts off whoever announces more', async () => {
    const { handler, results } = echo();
    const { ask, raw } = await serve(handler);
    const stream = await ask();
    await stream.send(new Uint8Array(MAX_OVERLAY_MESSAGE));
    assert.equal((await stream.receive())?.length, MAX_OVERLAY_MESSAGE);
    for (const length of [MAX_OVERLAY_MESSAGE + 1, 2 ** 32 - 1]) {
      const socket = await raw();
      const closed = once(socket, 'close');
      socket.write(uint32be(length));
      await closed;
      assert.equal(await results.at(-1), 'PROOF_BAD_MESSAGE');
    }
  });

  it('ends when the other end has closed, and a message cut off is none', async () => {
    const { handler, results } = echo();
    const { ask, raw } = await serve(handler);
    const stream = await ask();
    stream.close();
    assert.equal(await stream.receive(), undefined);
    assert.equal(await results[0], 'closed');
    const socket = await raw();
    const closed = once(socket, 'close');
    socket.end(framed(utf8('message')).subarray(0, 8));
    await closed;
    assert.equal(await results[1], 'closed');
  });

  it('still brings the answer to what was sent before the own end was closed', async () => {
    const { ask } = await serve(async (stream) => {
      const message = await stream.receive();
      await stream.send(utf8(`${text(message)} too`));
      stream.close();
    });
    const stream = await ask();
    await stream.send(utf8('this'));
    stream.close();
    assert.equal(text(await stream.receive()), 'this too');
    assert.equal(await stream.receive(), undefined);
  });

  it('cuts off an end that stays silent, on either side', async () => {
    const served: Promise<boolean>[] = [];
    const { ask } = await serve(
      (stream) => {
        served.push(ended(stream));
        return new Promise(() => undefined);
      },
      { idleMs: 40 },
    );
    assert.ok(await ended(await ask()));
    assert.deepEqual(await Promise.all(served), [true]);
  });

  it('answers so many at a time and no more, and one more when one has gone', async () => {
    const { handler } = echo();
    const { ask } = await serve(handler, { connections: 2 });
    const [first, second, third] = [await ask(), await ask(), await ask()];
    for (const stream of [first, second]) {
      await stream.send(utf8('here'));
      assert.equal(text(await stream.receive()), 'here');
    }
    assert.ok(await ended(third));
    first.close();
    assert.ok(await ended(first));
    const fourth = await ask();
    await fourth.send(utf8('again'));
    assert.equal(text(await fourth.receive()), 'again');
  });

  it('answers few of one address at a time, and one of each whatever another holds', async () => {
    const { handler } = echo();
    const { overlay, ask, stack } = await serve(handler, { connections: 6, perSource: 3 });
    const crowd = [];
    for (const from of [HERE, '127.0.0.3'])
      for (let n = 0; n < 9; n++) {
        const stream = await overlay.connect(from, THERE);
        stack.defer(() => stream.close());
        crowd.push(stream);
      }
    const other = await overlay.connect('127.0.0.4', THERE);
    stack.defer(() => other.close());
    await other.send(utf8('me'));
    assert.equal(text(await other.receive()), 'me');
    assert.ok(await ended(await ask()), 'its address holds three');
  });

  it('cuts off the stream whose handler fails, and no other', async () => {
    const { handler } = echo();
    let count = 0;
    const { ask } = await serve(async (stream) => {
      count += 1;
      if (count === 2) throw new Error('failed');
      await handler(stream);
    });
    const first = await ask();
    assert.ok(await ended(await ask()));
    await first.send(utf8('still'));
    assert.equal(text(await first.receive()), 'still');
  });

  it('says what it could not reach, and from where it could not ask', async () => {
    const unreachable = { code: 'PROOF_UNREACHABLE' };
    const { overlay } = await serve(echo().handler);
    await assert.rejects(overlay.connect(HERE, '127.0.0.3'), unreachable);
    await assert.rejects(overlay.connect('192.0.2.1', THERE), unreachable);
  });

  it('cuts off its streams and answers no more once it has ended', async () => {
    const { handler } = echo();
    const { overlay, server, ask } = await serve(handler);
    const stream = await ask();
    await stream.send(utf8('up'));
    assert.equal(text(await stream.receive()), 'up');
    await server[Symbol.asyncDispose]();
    assert.ok(await ended(stream));
    await assert.rejects(overlay.connect(HERE, THERE), { code: 'PROOF_UNREACHABLE' });
  });

  it('does not share its address', async () => {
    const { overlay } = await serve(echo().handler);
    await assert.rejects(overlay.listen(THERE, echo().handler), { code: 'PROOF_PORT_IN_USE' });
  });
});
