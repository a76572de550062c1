/**
 * Where peers that sleep have their endpoint: a socket of this machine alone. The first packet to such a peer makes WireGuard send a
 * handshake there, which says to whom it wants.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { UdpEndpoint } from './tunnel-driver.ts';
import { parseUdpEndpoint } from './values.ts';

export interface WakeSocket extends Disposable {
  readonly endpoint: UdpEndpoint;
  /** @param heard gets every datagram: whoever is on this machine can send one */
  listen(heard: (datagram: Uint8Array) => void): void;
}

/** Rejects as node:dgram does. */
export async function openWakeSocket(): Promise<WakeSocket> {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  socket.unref();
  // A datagram that the system could not deliver is none.
  socket.on('error', () => undefined);
  return wakeSocket(socket);
}

function wakeSocket(socket: Socket): WakeSocket {
  let isOpen = true;
  return {
    endpoint: parseUdpEndpoint(`127.0.0.1:${socket.address().port}`),
    listen: (heard) => {
      socket.on('message', (datagram) => heard(datagram));
    },
    [Symbol.dispose]: () => {
      if (isOpen) socket.close();
      isOpen = false;
    },
  };
}
