/**
 * Stands between two sites that cannot reach each other: forwards UDP and TCP with a delay each way. Each site knows the
 * other under the proxy's address on its own side. Arguments: one-way delay in ms, and as JSON the addresses and ports.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

interface Side {
  /** Of the proxy, as the site behind it sees the other site. */
  readonly proxy: string;
  readonly site: string;
}

interface Task {
  readonly sides: readonly [Side, Side];
  readonly udp: readonly number[];
  readonly tcp: number;
}

const delayMs = Number(process.argv[2]);
const { sides, udp, tcp } = JSON.parse(process.argv[3] ?? '{}') as Task;

/** In order, each after the delay. */
function later(): (task: () => void) => void {
  const queue: { readonly at: number; readonly task: () => void }[] = [];
  let isRunning = false;
  const run = (): void => {
    const now = performance.now();
    while (queue[0] !== undefined && queue[0].at <= now + 0.3) queue.shift()?.task();
    isRunning = queue[0] !== undefined;
    if (queue[0] !== undefined) setTimeout(run, Math.max(0, queue[0].at - now));
  };
  return (task) => {
    if (delayMs === 0) return task();
    queue.push({ at: performance.now() + delayMs, task });
    if (isRunning) return;
    isRunning = true;
    setTimeout(run, delayMs);
  };
}

const sockets = new Map<string, Socket>();
for (const [i, side] of sides.entries()) {
  const other = sides[1 - i] as Side;
  for (const port of udp) {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4 << 20 });
    const forward = later();
    socket.on('error', () => undefined);
    // From `side.site`, for the other site: leaves from the socket that stands for the sender there.
    socket.on('message', (message, from) => {
      const out = sockets.get(`${other.proxy}:${from.port}`);
      forward(() => out?.send(message, port, other.site, () => undefined));
    });
    socket.bind(port, side.proxy);
    await once(socket, 'listening');
    sockets.set(`${side.proxy}:${port}`, socket);
  }
  const server = createServer({ allowHalfOpen: true }, (inbound) => {
    const outbound = connect({ host: other.site, port: tcp, allowHalfOpen: true, noDelay: true });
    inbound.setNoDelay(true);
    for (const [from, to] of [
      [inbound, outbound],
      [outbound, inbound],
    ] as const) {
      const forward = later();
      from.on('data', (chunk) => forward(() => void to.write(chunk)));
      from.on('end', () => forward(() => void to.end()));
      from.on('error', () => forward(() => void to.resetAndDestroy()));
      from.on('close', () => forward(() => void to.destroy()));
    }
  });
  server.listen(tcp, side.proxy);
  await once(server, 'listening');
}
process.stdout.write('ready\n');
