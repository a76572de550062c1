/**
 * The thread of the machine: it alone holds the secret key and the chaining keys, and here McEliece takes its milliseconds, so that the
 * sockets are emptied meanwhile.
 */
import { randomBytes } from 'node:crypto';
import { parentPort, workerData } from 'node:worker_threads';
import { MeshError } from '#src/errors';
import { kyber512 } from '../kyber512.ts';
import { RosenpassMachine } from '../machine.ts';
import { expectPair } from '../mceliece/key-pair.ts';
import { McEliece460896 } from '../mceliece/mceliece.ts';
import type { RosenpassEffect } from '../peer-exchange.ts';
import { readPresharedKey, readPublicKey, readSecretKey } from './key-files.ts';
import type { FromWorker, ToWorker, WorkerError, WorkerStart } from './worker-messages.ts';

/** What setTimeout takes at most. */
const MAX_PAUSE_MS = 2 ** 31 - 1;

const rng = { bytes: (length: number) => new Uint8Array(randomBytes(length)) };
let timer: NodeJS.Timeout | undefined;

try {
  serve(open(workerData as WorkerStart));
} catch (error) {
  tell({ kind: 'failed', error: crossing(error) });
}

function open({ publicKey, secretKey, peers }: WorkerStart): RosenpassMachine {
  const ownPublicKey = readPublicKey(publicKey);
  const secret = readSecretKey(secretKey);
  try {
    expectPair(secret, ownPublicKey, rng);
    const staticKem = new McEliece460896(secret, () => ownPublicKey, rng);
    return new RosenpassMachine({
      kems: { staticKem, ephemeralKem: kyber512 },
      ownPublicKey,
      peers: peers.map(({ publicKey: path, presharedKey, ...peer }) => ({
        ...peer,
        // On disk, not in memory: half a megabyte for each peer.
        publicKey: () => readPublicKey(path),
        ...(presharedKey === undefined ? {} : { presharedKey: readPresharedKey(presharedKey) }),
      })),
      rng,
    });
  } finally {
    secret.fill(0);
  }
}

function serve(machine: RosenpassMachine): void {
  parentPort?.on('message', ({ datagrams }: ToWorker) => {
    for (const { datagram, from } of datagrams)
      carryOut(machine.handle(datagram, from, performance.now()));
    tell({ kind: 'taken', refused: machine.refused });
    schedule(machine);
  });
  tell({ kind: 'ready', peerIds: machine.peerIds });
  schedule(machine);
}

function schedule(machine: RosenpassMachine): void {
  clearTimeout(timer);
  const pause = machine.wakeAt() - performance.now();
  if (pause === Number.POSITIVE_INFINITY) return;
  timer = setTimeout(
    () => {
      carryOut(machine.poll(performance.now()));
      schedule(machine);
    },
    Math.min(Math.max(pause, 0), MAX_PAUSE_MS),
  );
}

function carryOut(effects: readonly RosenpassEffect[]): void {
  for (const effect of effects)
    switch (effect.kind) {
      case 'send':
        tell(effect);
        break;
      case 'key': {
        // A copy whose memory moves to the other thread: none stays here.
        const key = new Uint8Array(effect.key.expose());
        effect.key[Symbol.dispose]();
        tell({ ...effect, key }, [key.buffer]);
        break;
      }
      case 'trouble':
        tell({ ...effect, error: crossing(effect.error) });
        break;
    }
}

function tell(message: FromWorker, moved: ArrayBuffer[] = []): void {
  parentPort?.postMessage(message, moved);
}

function crossing(error: unknown): WorkerError {
  const { message } = error as Error;
  return error instanceof MeshError
    ? { code: error.code, message, hint: error.hint }
    : { code: 'INTERNAL', message, hint: '' };
}
