import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { describe, it } from 'mocha';
import { openWakeSocket } from '#src/wireguard/wake-socket';

describe('the socket of peers that sleep', () => {
  it('is of this machine alone, and hears what is sent there until it is closed', async () => {
    const socket = await openWakeSocket();
    const [host = '', port = ''] = socket.endpoint.split(':');
    assert.equal(host, '127.0.0.1');
    const heard = new Promise<Uint8Array>((resolve) => socket.listen(resolve));
    const sender = createSocket('udp4');
    sender.send(Uint8Array.of(1, 2, 3), Number(port), host);
    assert.deepEqual([...(await heard)], [1, 2, 3]);
    sender.close();
    socket[Symbol.dispose]();
    socket[Symbol.dispose]();
  });
});
