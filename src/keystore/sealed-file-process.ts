/**
 * The sealed file as the agent has it: in a process of its own, so that no dump, debugger or stray read of the agent's memory shows
 * the passphrase, the root or a private key. The agent sees signatures and what it derives.
 */
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { defaultPassphraseCost, type PassphraseCost } from '#src/crypto/passphrase';
import type { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { expectTrustedPlace } from '../files/trust.ts';
import { KeyStoreError } from './errors.ts';
import { keyIdBytes } from './key-id.ts';
import type { KeyId, KeyStore, KeyStoreDescription } from './key-store.ts';
import { KeyProcess } from './process/key-process.ts';
import type { KeyStoreRequest, Results } from './process/protocol.ts';
import { RemoteKeys } from './process/remote-keys.ts';

const program = fileURLToPath(new URL('./sealed-file-child.ts', import.meta.url));

export interface SealedFileProcessOptions {
  /**
   * Gives the passphrase once more, for a process that ended by itself; the caller of it wipes it. Without it the store answers
   * KEYSTORE_CHILD_DIED from then on: nobody has kept the passphrase.
   */
  readonly passphraseAgain?: () => Secret;
  /** Told the process id of each process that is started. */
  readonly onStart?: (pid: number | undefined) => void;
}

export class SealedFileProcess extends RemoteKeys implements KeyStore {
  readonly description: KeyStoreDescription;
  readonly #path: string;
  readonly #options: SealedFileProcessOptions;
  readonly #requests = new SerialQueue();
  #process: KeyProcess;
  #closed = false;

  private constructor(path: string, process: KeyProcess, options: SealedFileProcessOptions) {
    super((request) => this.#request(request));
    this.description = { driver: 'sealed-file', location: path };
    this.#path = path;
    this.#process = process;
    this.#options = options;
  }

  /** As `SealedFileKeyStore.create`, and KEYSTORE_CHILD_DIED. */
  static async create(
    path: string,
    passphrase: Secret,
    options: SealedFileProcessOptions = {},
    cost: PassphraseCost = defaultPassphraseCost,
  ): Promise<SealedFileProcess> {
    const process = await started({ op: 'createFile', path, cost }, passphrase, options);
    return new SealedFileProcess(path, process, options);
  }

  /** As `SealedFileKeyStore.open`, and KEYSTORE_CHILD_DIED. */
  static async open(
    path: string,
    passphrase: Secret,
    options: SealedFileProcessOptions = {},
  ): Promise<SealedFileProcess> {
    const process = await started({ op: 'openFile', path }, passphrase, options);
    return new SealedFileProcess(path, process, options);
  }

  async backUp(ids: readonly KeyId[], path: string): Promise<void> {
    expectTrustedPlace(dirname(path));
    await this.#request({ op: 'backUp', ids: ids.map(keyIdBytes), path });
  }

  async close(): Promise<void> {
    await this.#requests.run(async () => {
      if (this.#closed) return;
      this.#closed = true;
      if (this.#process.end !== undefined) return;
      try {
        await this.#process.request({ op: 'close' });
        await this.#process.disconnect();
      } catch {
        await this.#process.kill();
      }
    });
  }

  #request<R extends KeyStoreRequest>(request: R): Promise<Results[R['op']]> {
    return this.#requests.run(async () => {
      if (this.#closed)
        throw new KeyStoreError('KEYSTORE_CLOSED', `${this.#path}: the key store is closed`);
      if (this.#process.end !== undefined) await this.#restart();
      return this.#process.request(request);
    });
  }

  async #restart(): Promise<void> {
    const { passphraseAgain } = this.#options;
    if (passphraseAgain === undefined)
      throw new KeyStoreError(
        'KEYSTORE_CHILD_DIED',
        `${this.#path}: the process that holds the keys has ended (${this.#process.end})`,
        { hint: 'Start the agent again: nothing but the process knew the passphrase' },
      );
    using passphrase = passphraseAgain();
    this.#process = await started({ op: 'openFile', path: this.#path }, passphrase, this.#options);
  }
}

async function started(
  request: KeyStoreRequest,
  passphrase: Secret,
  { onStart }: SealedFileProcessOptions,
): Promise<KeyProcess> {
  const process = new KeyProcess(program, {});
  onStart?.(process.pid);
  try {
    await process.request(request, [passphrase]);
    return process;
  } catch (error) {
    await process.kill();
    throw error;
  }
}
