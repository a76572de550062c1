import assert from 'node:assert/strict';
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { after, before, describe, it } from 'mocha';
import { measureRtt, measureThroughput, serveProbe, streamUdp } from '#src/net/probe';

describe('path probe', () => {
  it('measures a path on which everything arrives', async () => {
    for (const address of ['127.0.0.1', '::1']) {
      const server = await serveProbe({ address, port: 0 });
      try {
        const target = { address, port: server.port };
        const rtt = await measureRtt({ ...target, count: 3, intervalMs: 5 });
        assert.deepEqual(
          { ...rtt, rttMs: typeof rtt.rttMs },
          { sent: 3, received: 3, rttMs: 'number' },
        );
        const stream = await streamUdp({ ...target, perSecond: 500, seconds: 0.1 });
        assert.deepEqual(stream, { sent: 50, lost: [], duplicated: [] });
        assert.ok((await measureThroughput({ ...target, seconds: 0.1 })) > 0);
      } finally {
        await server.close();
      }
    }
  });

  describe('on a path that loses and doubles', () => {
    let echo: Socket;

    before(async () => {
      echo = createSocket('udp4').bind(0, '127.0.0.1');
      await once(echo, 'listening');
      echo.on('message', (message, from) => {
        const sequence = message.readUInt32BE(0);
        if (sequence === 3 || sequence === 19) return;
        for (let n = 0; n < (sequence === 7 ? 2 : 1); n++)
          echo.send(message, from.port, from.address);
        // Somebody else's traffic.
        echo.send('noise', from.port, from.address);
      });
    });

    after(() => {
      echo.close();
    });

    it('names what was lost and what was doubled', async () => {
      const { address, port } = echo.address();
      const result = await streamUdp({ address, port, perSecond: 1000, seconds: 0.02 });
      assert.deepEqual(result, { sent: 20, lost: [3, 19], duplicated: [7] });
      const rtt = await measureRtt({ address, port, count: 5, intervalMs: 1 });
      assert.equal(rtt.received, 4);
    });
  });

  it('has no time to tell when nothing comes back', async () => {
    const socket = createSocket('udp4').bind(0, '127.0.0.1');
    await once(socket, 'listening');
    const { address, port } = socket.address();
    try {
      const rtt = await measureRtt({ address, port, count: 1, intervalMs: 1 });
      assert.deepEqual(rtt, { sent: 1, received: 0, rttMs: undefined });
    } finally {
      socket.close();
    }
  });
});
