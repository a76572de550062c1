/**
 * TCP within TLS, for networks that let out nothing else: what runs inside is the same as over TCP, with its own handshake. TLS proves
 * nobody here: the certificate is made at the start and for nobody to check, whoever is in between sees that TLS runs and no more.
 *
 * It is libp2p's TCP with other sockets: what of it is used beyond its interface is named here, and tests notice when it changes.
 */
import type { Socket } from 'node:net';
import { connect, createSecureContext, TLSSocket } from 'node:tls';
import { tcp } from '@libp2p/tcp';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { Clock } from '#src/clock';
import { Places, sourceOf } from './places.ts';
import { selfSigned } from './self-signed.ts';

/** Milliseconds for a handshake of TLS. */
const HANDSHAKE_MS = 5_000;
/** Handshakes of TLS at one time, of one source; those that take long give way. */
const PLACES = { total: 128, perSource: 16, patienceMs: 2_000 };

const TLS_ADDRESS = /^\/(ip4|ip6|dns|dns4|dns6)\/[^/]+\/tcp\/\d+\/tls(\/p2p\/[^/]+)?$/;

type MakeTransport = ReturnType<typeof tcp>;
type Transport = ReturnType<MakeTransport>;
type Listener = ReturnType<Transport['createListener']>;

interface Dialling {
  _connect(address: Multiaddr, options: { readonly signal: AbortSignal }): Promise<Socket>;
}

interface Accepting {
  readonly server: {
    removeAllListeners(event: 'connection'): void;
    on(event: 'connection', listener: (socket: Socket) => void): void;
  };
  onSocket(socket: Socket): void;
}

/** @param maxConnections sockets of one listener */
export function tlsTransport(maxConnections: number, clock: Clock): MakeTransport {
  return (components) => {
    const plain = tcp({ maxConnections })(components);
    const filter = (addresses: Multiaddr[]) =>
      addresses.filter((address) => TLS_ADDRESS.test(address.toString()));
    return Object.create(plain, {
      [Symbol.toStringTag]: { value: 'kelmesh/tls' },
      listenFilter: { value: filter },
      dialFilter: { value: filter },
      _connect: { value: connectSecurely.bind(undefined, plain as unknown as Dialling) },
      createListener: {
        value: (options: Parameters<Transport['createListener']>[0]) =>
          secureListener(plain.createListener(options), clock),
      },
    });
  };
}

async function connectSecurely(
  plain: Dialling,
  address: Multiaddr,
  options: { readonly signal: AbortSignal },
): Promise<Socket> {
  const raw = await plain._connect(withoutTls(address), options);
  const socket = connect({ socket: raw, rejectUnauthorized: false, minVersion: 'TLSv1.3' });
  return established(socket, 'secureConnect', options.signal);
}

/** Places before the handshake of TLS as at the door, which sees what comes out of it. */
function secureListener(listener: Listener, clock: Clock): Listener {
  const accepting = listener as unknown as Accepting;
  const places = new Places(clock, PLACES);
  const secureContext = selfSigned().then((material) =>
    createSecureContext({ ...material, minVersion: 'TLSv1.3' }),
  );
  // Whoever listens waits for it first.
  secureContext.catch(() => undefined);
  const accept = async (raw: Socket): Promise<void> => {
    raw.on('error', () => undefined);
    const leave = places.take(sourceOf(raw.remoteAddress ?? ''), () => raw.destroy());
    try {
      const socket = new TLSSocket(raw, { isServer: true, secureContext: await secureContext });
      const signal = AbortSignal.timeout(HANDSHAKE_MS);
      accepting.onSocket(await established(socket, 'secure', signal));
    } catch {
      raw.destroy();
    } finally {
      leave();
    }
  };
  accepting.server.removeAllListeners('connection');
  accepting.server.on('connection', (raw) => void accept(raw));
  const listen = listener.listen.bind(listener);
  const getAddrs = listener.getAddrs.bind(listener);
  listener.listen = async (address) => {
    await secureContext;
    await listen(withoutTls(address));
  };
  listener.getAddrs = () => getAddrs().map((address) => address.encapsulate('/tls'));
  return listener;
}

/** Resolves with the socket once its handshake is done, when libp2p may have it. */
function established(
  socket: TLSSocket,
  done: 'secure' | 'secureConnect',
  signal: AbortSignal,
): Promise<Socket> {
  // What lies within TLS cannot be reset alone.
  socket.resetAndDestroy = () => socket.destroy();
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const onAbort = () => reject(signal.reason);
  const onError = (error: Error) => reject(error);
  const onClose = () => reject(new Error('the connection ended in the handshake of TLS'));
  signal.addEventListener('abort', onAbort);
  socket.once(done, () => resolve(socket));
  socket.once('error', onError);
  socket.once('close', onClose);
  if (signal.aborted) onAbort();
  return promise
    .catch((error: unknown) => {
      socket.on('error', () => undefined);
      socket.destroy();
      throw error;
    })
    .finally(() => {
      signal.removeEventListener('abort', onAbort);
      socket.removeListener('error', onError);
      socket.removeListener('close', onClose);
    });
}

function withoutTls(address: Multiaddr): Multiaddr {
  return multiaddr(address.toString().replace(/\/tls(\/|$)/, '$1'));
}
