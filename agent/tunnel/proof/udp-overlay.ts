/** Datagrams of the overlay on UDP: one socket at the own overlay address. */
import { createSocket } from 'node:dgram';
import type { OverlayDatagrams } from './overlay.ts';

/** Bytes: what is measured is the path, and not how long this process had no time. The system may give less. */
const BUFFER = 1 << 20;

/**
 * @param received is told every datagram, attacker-controlled, with the address that it came from
 * @throws what the system says when no device carries `address`, or the port is taken
 */
export async function openDatagrams(
  address: string,
  port: number,
  received: (message: Uint8Array, from: string) => void,
): Promise<OverlayDatagrams> {
  const type = address.includes(':') ? 'udp6' : 'udp4';
  const socket = createSocket({ type, recvBufferSize: BUFFER, sendBufferSize: BUFFER });
  await new Promise<void>((resolve, reject) => {
    socket.once('error', (error) => {
      socket.close();
      reject(error);
    });
    socket.bind({ address, port, exclusive: true }, () => {
      socket.removeAllListeners('error');
      resolve();
    });
  });
  // What cannot be sent is lost, which is what is found out.
  socket.on('error', () => undefined);
  socket.on('message', (message, from) => received(message, from.address));
  // A process does not stay for it.
  socket.unref();
  let isOpen = true;
  return {
    send(to, message) {
      if (isOpen) socket.send(message, port, to, () => undefined);
    },
    close() {
      if (isOpen) socket.close();
      isOpen = false;
    },
  };
}
