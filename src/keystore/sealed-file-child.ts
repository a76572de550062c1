/**
 * The process of a sealed file: the passphrase, the key that it opens the file with, the root and every private key are in its
 * memory alone.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { MeshError } from '#src/errors';
import type { Rng } from '#src/rng';
import { KeyStoreError } from './errors.ts';
import { keyIdBytes, keyIdOf } from './key-id.ts';
import type { SigningKey } from './key-store.ts';
import type {
  KeyStoreFailure,
  KeyStoreRequest,
  Results,
  WireSigningKey,
} from './process/protocol.ts';
import { readSecret } from './process/secret-channel.ts';
import { serveKeys } from './process/serve.ts';
import { SealedFileKeyStore } from './sealed-file.ts';

/** How long a process of before may take to notice that its agent was killed, in milliseconds. */
const LOCK_PATIENCE_MS = 2_000;
const LOCK_POLL_MS = 50;

const rng: Rng = { bytes: (length) => new Uint8Array(randomBytes(length)) };

let store: SealedFileKeyStore | undefined;

async function answer(request: KeyStoreRequest): Promise<Results[keyof Results]> {
  if (request.op === 'openFile' || request.op === 'createFile') {
    using passphrase = readSecret();
    if (passphrase === undefined)
      throw new KeyStoreError('KEYSTORE_BAD_LENGTH', 'passphrase: none came');
    store = await whenUnlocked(() =>
      request.op === 'openFile'
        ? SealedFileKeyStore.open(request.path, passphrase, rng)
        : SealedFileKeyStore.create(request.path, passphrase, rng, request.cost),
    );
    return undefined;
  }
  if (store === undefined)
    throw new KeyStoreError('KEYSTORE_CLOSED', `${request.op}: no file is open`);
  switch (request.op) {
    case 'generateSigningKey':
      return wireKey(await store.generateSigningKey(request.algorithm));
    case 'signingKey':
      return wireKey(await store.signingKey(keyIdOf(request.id)));
    case 'sign':
      return store.sign(keyIdOf(request.id), request.message);
    case 'generateRoot':
      return keyIdBytes(await store.generateRoot());
    case 'prf': {
      const { id, label, length } = request;
      return (await store.prf(keyIdOf(id), label, length)).expose();
    }
    case 'destroy':
      return store.destroy(keyIdOf(request.id)) as Promise<undefined>;
    case 'list':
      return (await store.list()).map(({ id, kind, algorithm }) => ({
        id: keyIdBytes(id),
        kind,
        algorithm,
      }));
    case 'backUp':
      return store.backUp(request.ids.map(keyIdOf), request.path) as Promise<undefined>;
    case 'close':
      return store.close() as Promise<undefined>;
    default:
      throw new KeyStoreError('KEYSTORE_UNSUPPORTED', `${request.op}: this process holds a file`);
  }
}

async function whenUnlocked<T>(open: () => Promise<T>): Promise<T> {
  const end = performance.now() + LOCK_PATIENCE_MS;
  for (;;) {
    try {
      return await open();
    } catch (error) {
      const isLocked = error instanceof KeyStoreError && error.code === 'KEYSTORE_LOCKED';
      if (!isLocked || performance.now() > end) throw error;
    }
    await delay(LOCK_POLL_MS);
  }
}

function wireKey({ id, algorithm, publicKey }: SigningKey): WireSigningKey {
  return { id: keyIdBytes(id), algorithm, publicKey };
}

function failureOf(error: unknown): KeyStoreFailure {
  if (error instanceof KeyStoreError) {
    const { code, message, hint } = error;
    return { code, message, recovery: 'none', hint };
  }
  const message = `sealed key file: ${error instanceof Error ? error.message : error}`;
  const hint = error instanceof MeshError ? { hint: error.hint } : {};
  return { code: 'KEYSTORE_IO', message, recovery: 'none', ...hint };
}

serveKeys(answer, failureOf);
