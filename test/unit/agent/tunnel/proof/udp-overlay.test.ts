import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { describe, it } from 'mocha';
import { openDatagrams } from '#agent/tunnel/proof/udp-overlay';

async function unusedPort(): Promise<number> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  socket.close();
  return port;
}

describe('datagrams of the overlay', () => {
  it('go between addresses at one port, and tell whom they are from', async () => {
    const port = await unusedPort();
    const got = Promise.withResolvers<readonly [string, string]>();
    const there = await openDatagrams('127.0.0.2', port, (message, from) =>
      got.resolve([Buffer.from(message).toString(), from]),
    );
    const here = await openDatagrams('127.0.0.1', port, () => undefined);
    here.send('127.0.0.2', Buffer.from('hello'));
    assert.deepEqual(await got.promise, ['hello', '127.0.0.1']);
    here.close();
    here.close();
    here.send('127.0.0.2', Buffer.from('nothing'));
    there.close();
  });

  it('are refused while nothing carries the address, or another program has the port', async () => {
    const port = await unusedPort();
    await assert.rejects(
      openDatagrams('192.0.2.1', port, () => undefined),
      { code: 'EADDRNOTAVAIL' },
    );
    const first = await openDatagrams('127.0.0.1', port, () => undefined);
    await assert.rejects(
      openDatagrams('127.0.0.1', port, () => undefined),
      { code: 'EADDRINUSE' },
    );
    first.close();
  });
});
