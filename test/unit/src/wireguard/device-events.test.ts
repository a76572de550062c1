/** The events of a device as its program writes them, and what is no event. */
import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { after, before, describe, it } from 'mocha';
import { DeviceEventReader, watchDevice } from '#src/wireguard/device-events';
import { WireGuardError } from '#src/wireguard/errors';
import type { DeviceEvent } from '#src/wireguard/tunnel-driver';

const KEY = 'ab'.repeat(32);
const GREETING = 'protocol=kelmesh-device-events/1\n\n';
const PEER = `event=handshake\npublic_key=${KEY}\nendpoint=[2001:db8::1]:7\nlast_handshake_time_sec=1700000000\nlast_handshake_time_nsec=123456789\n\n`;
const FIRST = `event=state\npublic_key=${KEY}\nlast_handshake_time_sec=0\nlast_handshake_time_nsec=0\n\n`;

const read = (reader: DeviceEventReader, text: string): DeviceEvent[] => [
  ...reader.read(Buffer.from(text, 'latin1')),
];

const whole: DeviceEvent[] = [
  { kind: 'peer', publicKey: KEY, lastHandshake: 0 } as DeviceEvent,
  { kind: 'complete' },
  {
    kind: 'peer',
    publicKey: KEY,
    endpoint: '[2001:db8::1]:7',
    lastHandshake: 1_700_000_000_123,
  } as DeviceEvent,
  { kind: 'lost' },
];
const stream = `${GREETING}${FIRST}event=ready\n\n${PEER}event=overflow\n\n`;

describe('device events', () => {
  it('are read, in whatever pieces they come', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1 }), (sizes) => {
        const reader = new DeviceEventReader();
        const events: DeviceEvent[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = sizes[i % sizes.length] as number;
          events.push(...read(reader, stream.slice(at, at + size)));
          at += size;
        }
        assert.deepEqual(events, whole);
      }),
    );
  });

  it('are refused when they are anything else', () => {
    const bad = [
      'protocol=kelmesh-device-events/2\n\n',
      `${GREETING}event=unknown\n\n`,
      `${GREETING}event=ready\nmore=1\n\n`,
      `${GREETING}${PEER.replace(KEY, KEY.slice(2))}`,
      `${GREETING}${PEER.replace('public_key', 'private_key')}`,
      `${GREETING}${PEER.replace('=1700000000', '=-1')}`,
      `${GREETING}${PEER.replace(':7\n', ':70000\n')}`,
      `${GREETING}${PEER.replace('\n\n', '\nendpoint=1.2.3.4:5\n\n')}`,
      `${GREETING}${'x'.repeat(600)}`,
      `${GREETING}event=${'x'.repeat(600)}\n\n`,
      'x'.repeat(600),
    ];
    for (const text of bad)
      assert.throws(() => read(new DeviceEventReader(), text), WireGuardError, text);
  });

  it('never bring anything but an event or an error, whatever comes', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), fc.nat(stream.length), (noise, at) => {
        const text = stream.slice(0, at) + noise + stream.slice(at);
        try {
          read(new DeviceEventReader(), text);
        } catch (error) {
          assert.ok(error instanceof WireGuardError, String(error));
        }
      }),
    );
  });

  describe('over a socket', () => {
    let directory: string;
    let server: Server;
    let path: string;
    let last: Socket | undefined;

    before(async () => {
      directory = await mkdtemp(join(tmpdir(), 'kelmesh-events-'));
      path = join(directory, 'k0.events');
      server = createServer((socket) => {
        last = socket;
        socket.on('error', () => undefined);
        socket.write(GREETING);
      });
      await new Promise<void>((resolve) => server.listen(path, resolve));
    });

    after(async () => {
      server?.close();
      if (directory !== undefined) await rm(directory, { recursive: true, force: true });
    });

    const watching = async () => {
      const events: DeviceEvent[] = [];
      const { promise, resolve } = Promise.withResolvers<void>();
      const watch = await watchDevice(path, (event) => {
        events.push(event);
        resolve();
      });
      while (last === undefined) await new Promise((wake) => setImmediate(wake));
      const socket = last;
      last = undefined;
      return { events, watch, socket, first: promise };
    };

    it('are told, and their end once', async () => {
      const { events, socket, watch, first } = await watching();
      socket.write('event=ready\n\n');
      await first;
      socket.end('nonsense\n\n');
      while (events.length < 2) await new Promise((wake) => setTimeout(wake, 5));
      assert.deepEqual(events, [{ kind: 'complete' }, { kind: 'lost' }]);
      watch[Symbol.dispose]();
    });

    it('end with who watched', async () => {
      const { events, socket, watch } = await watching();
      watch[Symbol.dispose]();
      await new Promise<void>((resolve) => socket.once('close', () => resolve()));
      assert.deepEqual(events, []);
    });

    it('are an error where nobody listens', async () => {
      await assert.rejects(
        watchDevice(join(directory, 'none.events'), () => undefined),
        { code: 'WIREGUARD_UAPI_UNREACHABLE' },
      );
    });
  });
});
