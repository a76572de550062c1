/** Runs inside a machine: `ADDRESS PORT`, one datagram every 2 ms until one comes back; prints when that was, in ms since the epoch. */
import { createSocket } from 'node:dgram';

const [address = '', port = ''] = process.argv.slice(2);
const socket = createSocket('udp6');
// Without a route there is nothing to send on yet.
socket.on('error', () => undefined);
const sending = setInterval(
  () => socket.send('are you there?', Number(port), address, () => undefined),
  2,
);
socket.on('message', () => {
  console.log(performance.timeOrigin + performance.now());
  clearInterval(sending);
  socket.close();
});
console.log('sending');
