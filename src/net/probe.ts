/**
 * Measuring a path: round-trip time and numbered datagrams over UDP, throughput over TCP.
 *
 * For tests, benchmarks and `doctor`, on paths that this node may use; it works with real sockets and real time.
 */
import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, isIPv6 } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Sequence number (4 bytes, big endian) and a random stream number (4 bytes). */
const HEADER_LENGTH = 8;
const CHUNK_LENGTH = 64 * 1024;
const GRACE_MS = 500;
/** Bytes: what is measured is the path, and not how long a program had no time. The system may give less. */
const RECEIVE_BUFFER = 4 << 20;

export interface ProbeTarget {
  /** IPv4 or IPv6 address. */
  readonly address: string;
  readonly port: number;
}

export interface ProbeServer {
  /** The port in use, also when 0 was asked for. */
  readonly port: number;
  close(): Promise<void>;
}

/** Echoes every datagram, and swallows what arrives over TCP, at one address and port. */
export async function serveProbe({ address, port }: ProbeTarget): Promise<ProbeServer> {
  const sink = createServer((socket) => {
    socket.on('error', () => socket.destroy()).resume();
  });
  sink.listen(port, address);
  await once(sink, 'listening');
  const bound = sink.address();
  const shared = typeof bound === 'object' && bound ? bound.port : port;
  const echo = socketFor(address);
  echo.on('message', (message, from) => echo.send(message, from.port, from.address));
  // An echo that cannot be delivered is the loss that the other end counts.
  echo.bind(shared, address);
  await once(echo, 'listening');
  echo.on('error', () => undefined);
  return {
    port: shared,
    async close() {
      echo.close();
      sink.close();
      await Promise.all([once(echo, 'close'), once(sink, 'close')]);
    },
  };
}

export interface Rtt {
  readonly sent: number;
  readonly received: number;
  /** Median in milliseconds; undefined when nothing came back. */
  readonly rttMs: number | undefined;
}

/** @param options count datagrams, one every `intervalMs` */
export async function measureRtt(
  options: ProbeTarget & { readonly count: number; readonly intervalMs: number },
): Promise<Rtt> {
  const { count, intervalMs } = options;
  const sentAt: number[] = [];
  const times = new Map<number, number>();
  await exchange(options, count, intervalMs, {
    onSend: (n) => {
      sentAt[n] = performance.now();
    },
    onEcho: (n) => {
      if (!times.has(n)) times.set(n, performance.now() - (sentAt[n] ?? 0));
    },
    isDone: () => times.size === count,
  });
  const sorted = [...times.values()].sort((a, b) => a - b);
  return { sent: count, received: sorted.length, rttMs: sorted[sorted.length >> 1] };
}

export interface StreamResult {
  readonly sent: number;
  /** Sequence numbers, from 0, that never came back. */
  readonly lost: readonly number[];
  /** Sequence numbers that came back more than once. */
  readonly duplicated: readonly number[];
}

/** Numbered datagrams to the echo at a steady rate; which of them came back is exact. */
export async function streamUdp(
  options: ProbeTarget & { readonly perSecond: number; readonly seconds: number },
): Promise<StreamResult> {
  const count = Math.round(options.perSecond * options.seconds);
  const seen = new Uint32Array(count);
  let missing = count;
  await exchange(options, count, 1000 / options.perSecond, {
    onEcho: (n) => {
      if (seen[n] === 0) missing--;
      seen[n] = (seen[n] as number) + 1;
    },
    isDone: () => missing === 0,
  });
  const numbers = (wanted: (times: number) => boolean) =>
    [...seen.entries()].filter(([, times]) => wanted(times)).map(([n]) => n);
  return { sent: count, lost: numbers((n) => n === 0), duplicated: numbers((n) => n > 1) };
}

/** One TCP stream to the sink for `seconds`. @returns Mbit/s as the kernel took them */
export async function measureThroughput(
  options: ProbeTarget & { readonly seconds: number },
): Promise<number> {
  const { address, port, seconds } = options;
  const socket = connect({ host: address, port, noDelay: true });
  await once(socket, 'connect');
  const chunk = Buffer.alloc(CHUNK_LENGTH);
  const start = performance.now();
  const end = start + seconds * 1000;
  while (performance.now() < end) if (!socket.write(chunk)) await once(socket, 'drain');
  const elapsed = performance.now() - start;
  const bits = 8 * (socket.bytesWritten - socket.writableLength);
  socket.destroy();
  return bits / 1000 / elapsed;
}

interface Exchange {
  onSend?(sequence: number): void;
  onEcho(sequence: number): void;
  isDone(): boolean;
}

/** Sends `count` numbered datagrams on schedule (late ones at once), then waits a little for the last echoes. */
async function exchange(
  { address, port }: ProbeTarget,
  count: number,
  intervalMs: number,
  { onSend, onEcho, isDone }: Exchange,
): Promise<void> {
  const socket = socketFor(address);
  const stream = Math.floor(performance.now() * 1000) >>> 0;
  socket.on('message', (message) => {
    if (message.length !== HEADER_LENGTH || message.readUInt32BE(4) !== stream) return;
    const sequence = message.readUInt32BE(0);
    if (sequence < count) onEcho(sequence);
  });
  // "Connection refused" and the like are losses here.
  socket.on('error', () => undefined);
  try {
    const start = performance.now();
    for (let n = 0; n < count; n++) {
      const wait = start + n * intervalMs - performance.now();
      if (wait > 1) await sleep(wait);
      const datagram = Buffer.allocUnsafe(HEADER_LENGTH);
      datagram.writeUInt32BE(n, 0);
      datagram.writeUInt32BE(stream, 4);
      onSend?.(n);
      socket.send(datagram, port, address, () => undefined);
    }
    const deadline = performance.now() + GRACE_MS;
    while (!isDone() && performance.now() < deadline) await sleep(5);
  } finally {
    socket.close();
  }
}

function socketFor(address: string): Socket {
  return createSocket({
    type: isIPv6(address) ? 'udp6' : 'udp4',
    recvBufferSize: RECEIVE_BUFFER,
  });
}
