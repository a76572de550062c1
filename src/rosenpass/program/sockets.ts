/** The UDP sockets of the program. An address of a peer is a text with the socket that it goes through: an answer leaves where the question came in. */
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { isIPv4 } from 'node:net';
import { formatIpAddress, parseIpAddress, unmapIpv4 } from '#src/net/ip-address';
import { RosenpassError } from '../errors.ts';
import type { RosenpassAddress } from '../peer-exchange.ts';
import type { HostPort } from './config.ts';

/** Bytes that the system keeps of what has come. */
const RECEIVE_BUFFER = 1 << 20;
const ANY_IPV4 = '0.0.0.0';
const ANY_IPV6 = '::';

export interface RosenpassSockets extends AsyncDisposable {
  /** Where they are bound, in the order of `listen`. */
  readonly bound: readonly HostPort[];
  /** @param host an address  @returns undefined where no socket is of its family */
  address(target: HostPort): RosenpassAddress | undefined;
  /** What cannot be sent is lost, as any datagram may be. */
  send(datagram: Uint8Array, to: RosenpassAddress): void;
}

/**
 * @param listen none: a port that the system chooses, on all addresses
 * @throws ROSENPASS_NO_SOCKET
 */
export async function openSockets(
  listen: readonly HostPort[],
  received: (datagram: Uint8Array, from: RosenpassAddress) => void,
): Promise<RosenpassSockets> {
  const sockets: Socket[] = [];
  const close = async () => {
    for (const socket of sockets.splice(0)) await closed(socket);
  };
  try {
    for (const wanted of listen.length === 0 ? [undefined] : listen) {
      const index = sockets.length;
      const socket = wanted === undefined ? await anySocket() : await bind(wanted, listen);
      socket.on('message', (datagram, from) => received(datagram, addressOf(index, from)));
      // "Connection refused" and the like are losses.
      socket.on('error', () => undefined);
      sockets.push(socket);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return {
    bound: sockets.map((socket) => {
      const { address, port } = socket.address();
      return { host: address, port };
    }),
    address(target) {
      const index = sockets.findIndex((socket) => reaches(socket, target.host));
      return index < 0 ? undefined : addressOf(index, { address: target.host, port: target.port });
    },
    send(datagram, { endpoint }) {
      const [index = '', address = '', port = ''] = endpoint.split('|');
      const socket = sockets[Number(index)];
      if (socket === undefined) return;
      const isMapped = isIPv4(address) && isIpv6(socket);
      const target = isMapped ? `::ffff:${address}` : address;
      socket.send(datagram, Number(port), target, () => undefined);
    },
    [Symbol.asyncDispose]: close,
  };
}

function addressOf(
  index: number,
  { address, port }: Pick<RemoteInfo, 'address' | 'port'>,
): RosenpassAddress {
  const [plain = ''] = address.split('%');
  const bytes = parseIpAddress(plain) ?? new Uint8Array(16);
  const ipv4 = bytes.length === 4 ? bytes : unmapIpv4(bytes);
  const host = ipv4 === undefined ? address : formatIpAddress(ipv4);
  return {
    endpoint: `${index}|${host}|${port}`,
    source: (ipv4 ?? bytes.subarray(0, 8)).toHex(),
  };
}

async function anySocket(): Promise<Socket> {
  try {
    return await bind({ host: ANY_IPV6, port: 0 }, []);
  } catch {
    return bind({ host: ANY_IPV4, port: 0 }, []);
  }
}

async function bind({ host, port }: HostPort, listen: readonly HostPort[]): Promise<Socket> {
  // Beside a socket for all IPv4 addresses, that for all IPv6 ones leaves them alone.
  const ipv6Only =
    host === ANY_IPV6 && listen.some((other) => other.host === ANY_IPV4 && other.port === port);
  const socket = createSocket({
    type: isIPv4(host) ? 'udp4' : 'udp6',
    ipv6Only,
    recvBufferSize: RECEIVE_BUFFER,
  });
  try {
    socket.bind(port, host);
    await once(socket, 'listening');
    return socket;
  } catch (cause) {
    socket.close();
    throw new RosenpassError(
      'ROSENPASS_NO_SOCKET',
      `cannot listen on ${host} port ${port}: ${(cause as Error).message}`,
      { cause },
    );
  }
}

function reaches(socket: Socket, host: string): boolean {
  const { address } = socket.address();
  if (!isIPv4(host)) return isIpv6(socket);
  return !isIpv6(socket) || address === ANY_IPV6;
}

function isIpv6(socket: Socket): boolean {
  return socket.address().family === 'IPv6';
}

async function closed(socket: Socket): Promise<void> {
  const end = once(socket, 'close');
  socket.close();
  await end;
}
