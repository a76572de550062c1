/**
 * The embedded key store: one file, sealed under a passphrase.
 *
 * The passphrase goes through Argon2id once, when the store opens; the key that comes out stays in memory
 * for the next write. So do the private keys: a reader of the process's memory has them all, which is what
 * a token protects from and this driver does not.
 */
import { access, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { open, seal } from '#src/crypto/aead';
import {
  costProblem,
  defaultPassphraseCost,
  keyOfPassphrase,
  type PassphraseCost,
} from '#src/crypto/passphrase';
import type { Rng } from '#src/rng';
import type { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import {
  type AtomicFileSteps,
  atomicFileSteps,
  replaceFile,
  writeOutput,
} from '../files/atomic-file.ts';
import { FileError, fileError } from '../files/errors.ts';
import { expectTrustedPlace } from '../files/trust.ts';
import { KeyStoreError } from './errors.ts';
import { FileLock } from './file-lock.ts';
import type {
  KeyId,
  KeyStore,
  KeyStoreDescription,
  KeyStoreEntry,
  SigningAlgorithm,
  SigningKey,
} from './key-store.ts';
import {
  encodeHeader,
  encodeKeys,
  encodeSealedFile,
  MAX_FILE_LENGTH,
  MAX_KEYS,
  parseKeys,
  parseSealedFile,
  SALT_LENGTH,
} from './sealed-file-format.ts';
import { generateSoftwareKey, type SoftwareKeyKind, SoftwareKeys } from './software-keys.ts';

interface OpenFile {
  readonly path: string;
  readonly lock: FileLock;
  readonly header: Uint8Array;
  readonly key: Secret;
  readonly rng: Rng;
  readonly steps: AtomicFileSteps;
}

export class SealedFileKeyStore implements KeyStore {
  readonly description: KeyStoreDescription;
  readonly #file: OpenFile;
  readonly #changes = new SerialQueue();
  #keys: SoftwareKeys;
  #closed = false;

  private constructor(file: OpenFile, keys: SoftwareKeys) {
    this.description = { driver: 'sealed-file', location: file.path };
    this.#file = file;
    this.#keys = keys;
  }

  /**
   * A new, empty store; the file is there when it resolves.
   * @throws KEYSTORE_EXISTS, KEYSTORE_LOCKED, KEYSTORE_BAD_LENGTH for a cost out of bounds or an empty passphrase, KEYSTORE_IO
   */
  static async create(
    path: string,
    passphrase: Secret,
    rng: Rng,
    cost: PassphraseCost = defaultPassphraseCost,
    steps: AtomicFileSteps = atomicFileSteps,
  ): Promise<SealedFileKeyStore> {
    const problem =
      costProblem(cost) ?? (passphrase.length === 0 ? 'passphrase: it is empty' : undefined);
    if (problem !== undefined) throw new KeyStoreError('KEYSTORE_BAD_LENGTH', problem);
    const lock = await acquireLock(path);
    try {
      if (await exists(path)) throw new KeyStoreError('KEYSTORE_EXISTS', `${path} exists already`);
      const salt = rng.bytes(SALT_LENGTH);
      const key = await keyOfPassphrase(passphrase, salt, cost);
      const store = new SealedFileKeyStore(
        { path, lock, header: encodeHeader(cost, salt), key, rng, steps },
        new SoftwareKeys(),
      );
      await store.#persist(new SoftwareKeys());
      return store;
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  /** @throws KEYSTORE_NOT_FOUND, KEYSTORE_LOCKED, KEYSTORE_CORRUPT, KEYSTORE_WRONG_PASSPHRASE, KEYSTORE_IO */
  static async open(
    path: string,
    passphrase: Secret,
    rng: Rng,
    steps: AtomicFileSteps = atomicFileSteps,
  ): Promise<SealedFileKeyStore> {
    if (!(await exists(path)))
      throw new KeyStoreError('KEYSTORE_NOT_FOUND', `${path} does not exist`);
    const lock = await acquireLock(path);
    try {
      const { cost, salt, header, sealed } = parseSealedFile(await readBounded(path));
      const key = await keyOfPassphrase(passphrase, salt, cost);
      const file = { path, lock, header, key, rng, steps };
      // Left by a crash before the rename: sealed as the file is, but nobody reads it again.
      await rm(`${path}.tmp`, { force: true });
      return new SealedFileKeyStore(file, unsealKeys(file, sealed));
    } catch (error) {
      await lock.release();
      throw error;
    }
  }

  async generateSigningKey(algorithm: SigningAlgorithm = 'ed25519'): Promise<SigningKey> {
    const id = await this.#generate(algorithm);
    return this.#keys.signingKey(id);
  }

  async signingKey(id: KeyId): Promise<SigningKey> {
    return this.#open().signingKey(id);
  }

  async sign(id: KeyId, message: Uint8Array): Promise<Uint8Array> {
    return this.#open().sign(id, message);
  }

  async generateRoot(): Promise<KeyId> {
    return this.#generate('root');
  }

  async prf(root: KeyId, label: Uint8Array, length: number): Promise<Secret> {
    return this.#open().prf(root, label, length);
  }

  /** The file keeps no trace; blocks of earlier versions may stay on the disk, sealed. */
  async destroy(id: KeyId): Promise<void> {
    await this.#changes.run(async () => {
      const key = this.#open().get(id);
      if (key === undefined) return;
      const changed = this.#keys.without(id);
      await this.#persist(changed);
      this.#keys = changed;
      key.secret[Symbol.dispose]();
    });
  }

  async list(): Promise<readonly KeyStoreEntry[]> {
    return this.#open().list();
  }

  /** Under the same passphrase: the file takes the place of this one. */
  async backUp(ids: readonly KeyId[], path: string): Promise<void> {
    await this.#changes.run(async () => {
      const keys = this.#open();
      const absent = ids.find((id) => keys.get(id) === undefined);
      if (absent !== undefined)
        throw new KeyStoreError(
          'KEYSTORE_NO_SUCH_KEY',
          `${this.#file.path}: holds no key ${absent}`,
        );
      const wanted = new Set(ids);
      const bytes = this.#sealed(new SoftwareKeys(keys.all().filter(({ id }) => wanted.has(id))));
      await backUpTo(path, bytes, this.#file.steps);
    });
  }

  async close(): Promise<void> {
    await this.#changes.run(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#keys.wipe();
      this.#file.key[Symbol.dispose]();
      await this.#file.lock.release();
    });
  }

  async #generate(kind: SoftwareKeyKind): Promise<KeyId> {
    return this.#changes.run(async () => {
      const keys = this.#open();
      if (keys.all().length >= MAX_KEYS) {
        throw new KeyStoreError(
          'KEYSTORE_FULL',
          `${this.#file.path}: holds ${MAX_KEYS} keys, which is the most`,
        );
      }
      const key = generateSoftwareKey(kind, this.#file.rng);
      const changed = keys.with(key);
      await this.#persist(changed);
      this.#keys = changed;
      return key.id;
    });
  }

  async #persist(keys: SoftwareKeys): Promise<void> {
    const { path, steps } = this.#file;
    try {
      await replaceFile(path, this.#sealed(keys), { steps });
    } catch (cause) {
      throw notWritten(path, cause);
    }
  }

  #sealed(keys: SoftwareKeys): Uint8Array {
    const { header, key, rng } = this.#file;
    using content = encodeKeys(keys);
    return encodeSealedFile(header, seal(key, content.expose(), header, rng));
  }

  #open(): SoftwareKeys {
    if (this.#closed)
      throw new KeyStoreError('KEYSTORE_CLOSED', `${this.#file.path}: the key store is closed`);
    return this.#keys;
  }
}

/** @throws KEYSTORE_EXISTS, KEYSTORE_IO, FILE_OTHERS_CAN_WRITE for a directory in which others could put another backup in its place */
async function backUpTo(path: string, bytes: Uint8Array, steps: AtomicFileSteps): Promise<void> {
  expectTrustedPlace(dirname(path));
  try {
    await writeOutput(path, bytes, { isNew: true, steps });
  } catch (cause) {
    if (cause instanceof FileError && cause.code === 'FILE_EXISTS')
      throw new KeyStoreError('KEYSTORE_EXISTS', `${path} exists already`, { cause });
    throw notWritten(path, cause);
  }
}

/** Says what the system said, and how to mend it. */
function notWritten(path: string, cause: unknown): KeyStoreError {
  const said = cause instanceof FileError ? `: ${cause.message}` : '';
  return new KeyStoreError(
    'KEYSTORE_IO',
    `${path}: the new content did not reach the disk${said}`,
    { cause, ...(cause instanceof FileError ? { hint: cause.hint } : {}) },
  );
}

function unsealKeys({ path, key, header }: OpenFile, sealed: Uint8Array): SoftwareKeys {
  let content: Uint8Array;
  try {
    content = open(key, sealed, header);
  } catch (cause) {
    throw new KeyStoreError(
      'KEYSTORE_WRONG_PASSPHRASE',
      `${path}: the passphrase does not open this file`,
      { cause },
    );
  }
  try {
    return parseKeys(content);
  } finally {
    content.fill(0);
  }
}

async function acquireLock(path: string): Promise<FileLock> {
  try {
    return await FileLock.acquire(`${path}.lock`);
  } catch (cause) {
    if (cause instanceof KeyStoreError) throw cause;
    throw notWritten(`${path}.lock`, fileError(`${path}.lock`, cause));
  }
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

async function readBounded(path: string): Promise<Uint8Array> {
  try {
    const { size } = await stat(path);
    if (size > MAX_FILE_LENGTH) {
      throw new KeyStoreError(
        'KEYSTORE_CORRUPT',
        `${path}: expected at most ${MAX_FILE_LENGTH} bytes, got ${size}`,
      );
    }
    return new Uint8Array(await readFile(path));
  } catch (cause) {
    if (cause instanceof KeyStoreError) throw cause;
    throw new KeyStoreError('KEYSTORE_IO', `${path}: cannot be read`, { cause });
  }
}
