/**
 * The smallest service behind the inner layer: one line in, one line back, which names the caller as its
 * certificate does. For the demonstration and the tests.
 */
import { once } from 'node:events';
import { type AddressInfo, isIP, type Socket } from 'node:net';
import { connect, createServer, type TLSSocket } from 'node:tls';
import {
  clientOptions,
  describePeer,
  type MtlsClient,
  type MtlsIdentity,
  type MtlsSession,
  serverOptions,
} from '#src/mtls/context';
import { MtlsError } from '#src/mtls/errors';
import { explainClientRefusal, explainTlsError } from '#src/mtls/explain';

export interface EchoService extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** Stops listening and ends the open connections. */
  close(): Promise<void>;
}

export interface EchoServiceOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  readonly tls: MtlsIdentity;
  /** Told of every client that is refused. */
  readonly onRefused?: (error: MtlsError) => void;
}

export interface EchoCall {
  readonly host: string;
  readonly port: number;
  readonly tls: MtlsClient;
  /** One line, at most 500 characters. */
  readonly text: string;
}

export interface EchoReply {
  /** `CALLER-URI said TEXT`. */
  readonly text: string;
  readonly server: MtlsSession;
}

const MAX_TEXT = 500;
// A line that comes back has the caller's name before the text.
const MAX_LINE = 2_000;
const IDLE_MS = 10_000;

export async function serveEcho(options: EchoServiceOptions): Promise<EchoService> {
  const connections = new Set<Socket>();
  const server = createServer(serverOptions(options.tls));
  server.on('connection', (connection) => {
    connections.add(connection);
    connection.once('close', () => connections.delete(connection));
  });
  server.on('secureConnection', (socket) => {
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    // A client that goes away in the middle is its own affair.
    answer(socket).catch(() => socket.destroy());
  });
  server.on('tlsClientError', (error, socket) => {
    options.onRefused?.(explainClientRefusal(error, socket));
    socket.destroy();
  });
  server.listen(options.port, options.host);
  await once(server, 'listening');
  const close = async () => {
    if (!server.listening) return;
    const closed = once(server, 'close');
    server.close();
    for (const connection of connections) connection.destroy();
    await closed;
  };
  const { port } = server.address() as AddressInfo;
  return { host: options.host, port, close, [Symbol.asyncDispose]: close };
}

async function answer(socket: TLSSocket): Promise<void> {
  socket.on('error', () => socket.destroy());
  const caller = describePeer(socket);
  const line = await readLine(socket);
  if (line === undefined) socket.destroy();
  else socket.end(`${caller.uri ?? caller.fingerprint} said ${line}\n`);
}

/** The first line; undefined when the other end closes, or sends too much, before there is one. */
async function readLine(socket: TLSSocket): Promise<string | undefined> {
  let received = '';
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    // attacker-controlled
    received += String(chunk);
    const end = received.indexOf('\n');
    if (end >= 0 && end <= MAX_LINE) return received.slice(0, end);
    if (received.length > MAX_LINE) return undefined;
  }
  return undefined;
}

/** @throws MTLS_UNTRUSTED, MTLS_EXPIRED, MTLS_WRONG_NAME, MTLS_NO_GROUP, MTLS_OLD_TLS, MTLS_REFUSED and the others of src/mtls/errors.ts */
export async function callEcho({ host, port, tls, text }: EchoCall): Promise<EchoReply> {
  if (text.includes('\n') || text.length > MAX_TEXT) {
    throw new RangeError(`expected one line of at most ${MAX_TEXT} characters, got ${text.length}`);
  }
  const where = isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
  const socket = connect({ ...clientOptions(tls), host, port });
  socket.setTimeout(IDLE_MS, () => socket.destroy(new Error('no answer')));
  // Looked at before the verdict, for the message alone: afterwards the certificate is gone.
  let issuer: string | undefined;
  socket.prependOnceListener('secure', () => {
    issuer = socket.getPeerX509Certificate()?.issuer;
  });
  try {
    await once(socket, 'secureConnect');
    const server = describePeer(socket);
    socket.write(`${text}\n`);
    return { text: await replyOf(socket, where), server };
  } catch (error) {
    throw explainTlsError(error, where, issuer);
  } finally {
    socket.destroy();
  }
}

/** In TLS 1.3 a client learns only after its own handshake that its certificate was refused: as a close. */
async function replyOf(socket: TLSSocket, where: string): Promise<string> {
  let line: string | undefined;
  let cause: unknown;
  try {
    line = await readLine(socket);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error;
    cause = error;
  }
  if (line !== undefined) return line;
  throw new MtlsError(
    'MTLS_REFUSED',
    `${where}: the server closed the connection after the handshake`,
    { cause },
  );
}
