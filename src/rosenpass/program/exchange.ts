/**
 * The program that exchanges keys alone, as the Rust one does: sockets and key outputs here, the machine in a thread of its own. Between
 * the two stands a queue that a flood fills to its bound and no further.
 */
import { lookup } from 'node:dns/promises';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { MeshError } from '#src/errors';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { RosenpassError } from '../errors.ts';
import { CIPHERTEXT_LENGTH } from '../mceliece/parameters.ts';
import { parseMessage } from '../messages.ts';
import type { KeyReason, RosenpassAddress } from '../peer-exchange.ts';
import type { HostPort, RosenpassConfig } from './config.ts';
import { putOutKey } from './key-output.ts';
import { openSockets, type RosenpassSockets } from './sockets.ts';
import type {
  FromWorker,
  Received,
  ToWorker,
  WorkerError,
  WorkerStart,
} from './worker-messages.ts';

/** Datagrams that wait for the machine. */
const MAX_WAITING = 256;
/** Given to it at a time. */
const MAX_BATCH = 16;

const REPEATED =
  'expected a public key of its own, got that of another peer: one alone of the two is answered';

/** Told of what happens. */
export interface ExchangeListener {
  /** The sockets are open, the keys are read. */
  ready(bound: readonly HostPort[]): void;
  /** The key of a peer is where it was to go. @param peerId 32 bytes */
  key(peer: number, peerId: Uint8Array, reason: KeyReason): void;
  /** Something of one peer did not work; the rest goes on. */
  trouble(peer: number, error: WorkerError | RosenpassError): void;
  /** Datagrams that changed nothing, by reason, since the start; told when there are more. */
  refused(counts: ReadonlyMap<string, number>): void;
}

/**
 * Until `signal` aborts. The keys that are out stay as they are.
 * @throws ROSENPASS_…, FILE_… when it cannot begin, or when its thread ends
 */
export async function exchangeKeys(
  config: RosenpassConfig,
  listener: ExchangeListener,
  signal: AbortSignal,
): Promise<void> {
  const waiting: Received[] = [];
  const dropped = new Map<string, number>();
  let give = () => undefined as undefined;
  const drop = (reason: string) => {
    dropped.set(reason, (dropped.get(reason) ?? 0) + 1);
  };
  await using sockets = await openSockets(config.listen, (datagram, from) => {
    // What has no length of a message is not worth a turn of the other thread.
    if (parseMessage(datagram, CIPHERTEXT_LENGTH) === undefined) return drop('malformed');
    if (waiting.length >= MAX_WAITING) return drop('over-queue');
    waiting.push({ datagram, from });
    give();
  });
  const addresses = await Promise.all(
    config.peers.map(({ endpoint }) => endpoint && resolve(endpoint, sockets)),
  );
  await using thread = startThread(config, addresses);
  const { worker } = thread;
  const queues = config.peers.map(() => new SerialQueue());
  let peerIds: readonly Uint8Array[] = [];
  let isBusy = true;
  give = () => {
    if (isBusy || waiting.length === 0) return;
    isBusy = true;
    const message: ToWorker = { kind: 'datagrams', datagrams: waiting.splice(0, MAX_BATCH) };
    worker.postMessage(message);
  };
  const put = (peer: number, key: Secret, reason: KeyReason) =>
    queues[peer]?.run(async () => {
      using held = key;
      const to = config.peers[peer];
      if (to === undefined) return;
      const { isWritten, failure } = await putOutKey(to, held);
      if (isWritten) listener.key(peer, peerIds[peer] ?? new Uint8Array(0), reason);
      if (failure !== undefined) listener.trouble(peer, failure);
    });
  const failed = new Promise<never>((_, reject) => {
    worker.on('message', (message: FromWorker) => {
      switch (message.kind) {
        case 'ready':
          ({ peerIds } = message);
          isBusy = false;
          for (const peer of repeated(peerIds))
            listener.trouble(peer, new RosenpassError('ROSENPASS_BAD_CONFIG', REPEATED));
          listener.ready(sockets.bound);
          give();
          break;
        case 'failed':
          reject(new ThreadError(message.error));
          break;
        case 'taken':
          isBusy = false;
          listener.refused(new Map([...dropped, ...sum(dropped, message.refused)]));
          give();
          break;
        case 'send':
          sockets.send(message.datagram, message.to);
          break;
        case 'key':
          void put(message.peer, Secret.take(message.key), message.reason);
          break;
        case 'trouble':
          listener.trouble(message.peer, message.error);
          break;
      }
    });
    worker.on('error', reject);
    worker.on('exit', () => reject(new Error('the thread of the exchange ended')));
  });
  try {
    await Promise.race([failed, signal.aborted ? undefined : once(signal, 'abort')]);
  } finally {
    failed.catch(() => undefined);
    await Promise.all(queues.map((queue) => queue.idle()));
  }
}

function startThread(
  { publicKey, secretKey, peers }: RosenpassConfig,
  addresses: readonly (RosenpassAddress | undefined)[],
): AsyncDisposable & { readonly worker: Worker } {
  const start: WorkerStart = {
    publicKey,
    secretKey,
    peers: peers.map(({ publicKey: path, version, presharedKey, output }, at) => {
      const address = addresses[at];
      return {
        publicKey: path,
        version,
        ...(presharedKey === undefined ? {} : { presharedKey }),
        ...(output === undefined ? {} : { output }),
        ...(address === undefined ? {} : { address }),
      };
    }),
  };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: start });
  return {
    worker,
    async [Symbol.asyncDispose]() {
      worker.removeAllListeners('exit');
      await worker.terminate();
    },
  };
}

/** The first address of the name that a socket can reach. @throws ROSENPASS_NO_ADDRESS */
async function resolve(endpoint: HostPort, sockets: RosenpassSockets): Promise<RosenpassAddress> {
  const { host, port } = endpoint;
  const found = await lookup(host, { all: true }).catch((cause: Error) => {
    throw new RosenpassError('ROSENPASS_NO_ADDRESS', `endpoint ${host}: ${cause.message}`, {
      cause,
    });
  });
  for (const { address } of found) {
    const reached = sockets.address({ host: address, port });
    if (reached !== undefined) return reached;
  }
  throw new RosenpassError(
    'ROSENPASS_NO_ADDRESS',
    `endpoint ${host}: expected an address that \`listen\` reaches, got ${found.map(({ address }) => address).join(', ')}`,
  );
}

/** Peers with the key of one before them. */
function repeated(peerIds: readonly Uint8Array[]): readonly number[] {
  const seen = new Set<string>();
  return peerIds.flatMap((id, at) => {
    const isKnown = seen.has(id.toHex());
    seen.add(id.toHex());
    return isKnown ? [at] : [];
  });
}

function sum(
  a: ReadonlyMap<string, number>,
  b: ReadonlyMap<string, number>,
): ReadonlyMap<string, number> {
  return new Map([...b].map(([reason, count]) => [reason, count + (a.get(reason) ?? 0)]));
}

/** An error of the other thread: its code, its words, its cure. */
class ThreadError extends MeshError {
  constructor({ code, message, hint }: WorkerError) {
    super(code, message, {}, { hint });
  }
}
