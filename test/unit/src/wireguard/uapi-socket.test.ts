import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'mocha';
import { encodeGet } from '#src/wireguard/uapi';
import { exchangeUapi, isListening } from '#src/wireguard/uapi-socket';

describe('UAPI socket', () => {
  let directory: string;
  let path: string;
  let server: Server;
  let answer: (socket: Socket) => void;

  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'kelmesh-uapi-'));
    path = join(directory, 'device.sock');
    server = createServer((socket) => {
      socket.on('error', () => undefined);
      answer(socket);
    }).listen(path);
    await once(server, 'listening');
  });

  afterEach(async () => {
    server.close();
    await rm(directory, { recursive: true, force: true });
  });

  const ask = (timeoutMs?: number): Promise<string> =>
    exchangeUapi(path, encodeGet(), (reply) => Buffer.from(reply).toString(), timeoutMs);

  it('reads a reply that comes byte by byte', async () => {
    answer = async (socket) => {
      for (const byte of 'errno=0\n\n') {
        socket.write(byte);
        await new Promise(setImmediate);
      }
    };
    assert.equal(await ask(), 'errno=0\n\n');
  });

  it('wipes the request and the reply', async () => {
    answer = (socket) => socket.write('errno=0\n\n');
    const request = encodeGet();
    let kept = new Uint8Array();
    await exchangeUapi(path, request, (reply) => {
      kept = reply as typeof kept;
    });
    assert.ok(kept.length > 0 && kept.every((byte) => byte === 0));
    assert.ok(request.every((byte) => byte === 0));
  });

  it('gives up on a program that is silent, gone, or hangs up', async () => {
    answer = () => undefined;
    await assert.rejects(ask(20), { code: 'WIREGUARD_UAPI_TIMEOUT' });
    answer = (socket) => socket.end('errno=0\n');
    await assert.rejects(ask(), { code: 'WIREGUARD_UAPI_UNREACHABLE' });
    path = join(directory, 'nowhere.sock');
    await assert.rejects(ask(), { code: 'WIREGUARD_UAPI_UNREACHABLE' });
  });

  it('stops reading what never ends', async () => {
    const chunk = Buffer.alloc(2 ** 20, 'x');
    answer = (socket) => {
      const more = (): void => {
        while (!socket.destroyed && socket.write(chunk));
      };
      socket.on('drain', more);
      more();
    };
    await assert.rejects(ask(), { code: 'WIREGUARD_UAPI_TOO_LARGE' });
  });

  it('knows whether somebody listens', async () => {
    answer = (socket) => socket.end();
    assert.equal(await isListening(path), true);
    assert.equal(await isListening(join(directory, 'nowhere.sock')), false);
  });
});
