/**
 * Key store on a PKCS#11 token, from SoftHSM to a hardware module: configuration, not code.
 *
 * The token is in a process of its own. When that ends, or the token is pulled, the call that noticed fails
 * and the next one starts afresh with the PIN that was right before. A refused PIN is never sent again.
 */
import { access } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { KeyStoreError } from '../errors.ts';
import type { KeyStore, KeyStoreDescription } from '../key-store.ts';
import { KeyProcess, KeyProcessError, type KeyProcessOptions } from '../process/key-process.ts';
import type { KeyStoreRequest, Results } from '../process/protocol.ts';
import { RemoteKeys } from '../process/remote-keys.ts';

/** The program that loads the module. */
export const tokenProgram = fileURLToPath(new URL('./child.ts', import.meta.url));

/** For the log. */
export type Pkcs11Event =
  | { readonly kind: 'process-started'; readonly pid: number | undefined }
  | { readonly kind: 'process-ended'; readonly how: string }
  | { readonly kind: 'pin-tries-low' };

export interface Pkcs11Options extends KeyProcessOptions {
  /** Path of the PKCS#11 module (`.so`). */
  readonly module: string;
  /** CKA label of the token, without the padding. */
  readonly tokenLabel: string;
  /** UTF-8; copied, so that the caller may dispose of its own. */
  readonly pin: Secret;
  /**
   * Gives the PIN once more, for a new login; the caller of it wipes it. With it the PIN is not kept here after the first login.
   */
  readonly pinAgain?: () => Secret;
  readonly onEvent?: (event: Pkcs11Event) => void;
  /** The program to run; a test puts another in its place. */
  readonly childPath?: string;
}

export class Pkcs11KeyStore extends RemoteKeys implements KeyStore {
  readonly #options: Pkcs11Options;
  /** Undefined once it can be had again. */
  #pin: Secret | undefined;
  readonly #requests = new SerialQueue();
  #description: KeyStoreDescription = { driver: 'pkcs11', location: '' };
  #process: KeyProcess | undefined;
  /** Set by a refused PIN: the answer to everything from then on. */
  #refusal: KeyStoreError | undefined;
  #closed = false;

  private constructor(options: Pkcs11Options) {
    super((request) => this.#request(request));
    this.#options = options;
    this.#pin = new Secret(options.pin.expose());
  }

  /**
   * @throws KEYSTORE_NO_MODULE, KEYSTORE_NO_PKCS11, KEYSTORE_NO_TOKEN, KEYSTORE_AMBIGUOUS_TOKEN, KEYSTORE_WRONG_PIN,
   * KEYSTORE_PIN_LAST_TRY, KEYSTORE_PIN_LOCKED, KEYSTORE_TOKEN_GONE, KEYSTORE_TOKEN_FAILED, KEYSTORE_CHILD_DIED
   */
  static async open(options: Pkcs11Options): Promise<Pkcs11KeyStore> {
    await requireModule(options.module);
    const store = new Pkcs11KeyStore(options);
    try {
      await store.#connect();
    } catch (error) {
      store.#forgetPin();
      throw error;
    }
    return store;
  }

  get description(): KeyStoreDescription {
    return this.#description;
  }

  async close(): Promise<void> {
    await this.#requests.run(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#forgetPin();
      const process = this.#process;
      if (process === undefined || process.end !== undefined) return;
      try {
        await process.request({ op: 'close' });
        await process.disconnect();
      } catch {
        await process.kill();
      }
    });
  }

  #forgetPin(): void {
    this.#pin?.[Symbol.dispose]();
    this.#pin = undefined;
  }

  async #request<R extends KeyStoreRequest>(request: R): Promise<Results[R['op']]> {
    return this.#requests.run(async () => {
      try {
        return await this.#ask(request);
      } catch (error) {
        if (!(error instanceof KeyProcessError) || error.recovery !== 'restart-and-retry')
          throw error;
        return await this.#ask(request);
      }
    });
  }

  async #ask<R extends KeyStoreRequest>(request: R): Promise<Results[R['op']]> {
    if (this.#closed)
      throw new KeyStoreError(
        'KEYSTORE_CLOSED',
        `${this.#description.location}: the key store is closed`,
      );
    if (this.#refusal !== undefined) throw this.#refusal;
    const process = await this.#connected();
    try {
      return await process.request(request);
    } catch (error) {
      // SoftHSM for one never finds a token again in a process that saw it go.
      if (error instanceof KeyProcessError && error.recovery !== 'none') await process.kill();
      throw error;
    }
  }

  async #connected(): Promise<KeyProcess> {
    if (this.#process !== undefined && this.#process.end === undefined) return this.#process;
    try {
      return await this.#connect();
    } catch (error) {
      if (!(error instanceof KeyStoreError)) throw error;
      if (pinRefusals.includes(error.code)) this.#refusal = error;
      // It was there before, so the label is right.
      if (error.code !== 'KEYSTORE_NO_TOKEN') throw error;
      throw new KeyStoreError('KEYSTORE_TOKEN_GONE', error.message, { cause: error });
    }
  }

  async #connect(): Promise<KeyProcess> {
    const { module, tokenLabel, pinAgain, onEvent, childPath = tokenProgram } = this.#options;
    const process = new KeyProcess(childPath, this.#options);
    onEvent?.({ kind: 'process-started', pid: process.pid });
    void process.ended.then((how) => onEvent?.({ kind: 'process-ended', how }));
    try {
      const request = { op: 'open', module, tokenLabel } as const;
      using again = this.#pin === undefined ? pinAgain?.() : undefined;
      const pin = this.#pin ?? again;
      const { model, pinTriesLow } = await process.request(request, pin === undefined ? [] : [pin]);
      if (pinAgain !== undefined) this.#forgetPin();
      if (pinTriesLow) onEvent?.({ kind: 'pin-tries-low' });
      this.#description = { driver: 'pkcs11', location: `${tokenLabel} (${model})` };
      this.#process = process;
      return process;
    } catch (error) {
      await process.kill();
      throw error;
    }
  }
}

const pinRefusals: readonly KeyStoreError['code'][] = [
  'KEYSTORE_WRONG_PIN',
  'KEYSTORE_PIN_LOCKED',
  'KEYSTORE_PIN_LAST_TRY',
];

/** Before a process is started for it. @throws KEYSTORE_NO_MODULE */
export async function requireModule(path: string): Promise<void> {
  try {
    await access(path);
  } catch (cause) {
    throw new KeyStoreError('KEYSTORE_NO_MODULE', `PKCS#11 module ${path}: not found`, { cause });
  }
}
