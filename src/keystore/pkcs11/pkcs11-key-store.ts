/**
 * Key store on a PKCS#11 token, from SoftHSM to a hardware module: configuration, not code.
 *
 * The token is in a process of its own. When that ends, or the token is pulled, the call that noticed fails
 * and the next one starts afresh with the PIN that was right before. A refused PIN is never sent again.
 */
import { access } from 'node:fs/promises';
import { Secret } from '#src/secret';
import { SerialQueue } from '#src/serial-queue';
import { KeyStoreError } from '../errors.ts';
import { keyIdBytes, keyIdOf } from '../key-id.ts';
import type {
  KeyId,
  KeyStore,
  KeyStoreDescription,
  KeyStoreEntry,
  SigningAlgorithm,
  SigningKey,
} from '../key-store.ts';
import { checkMessage, checkPrf } from '../limits.ts';
import type { Request, Results, WireSigningKey } from './protocol.ts';
import { TokenProcess, TokenProcessError, type TokenProcessOptions } from './token-process.ts';

/** For the log. */
export type Pkcs11Event =
  | { readonly kind: 'process-started'; readonly pid: number | undefined }
  | { readonly kind: 'process-ended'; readonly how: string }
  | { readonly kind: 'pin-tries-low' };

export interface Pkcs11Options extends TokenProcessOptions {
  /** Path of the PKCS#11 module (`.so`). */
  readonly module: string;
  /** CKA label of the token, without the padding. */
  readonly tokenLabel: string;
  /** UTF-8; copied, so that the caller may dispose of its own. */
  readonly pin: Secret;
  readonly onEvent?: (event: Pkcs11Event) => void;
}

export class Pkcs11KeyStore implements KeyStore {
  readonly #options: Pkcs11Options;
  readonly #pin: Secret;
  readonly #requests = new SerialQueue();
  #description: KeyStoreDescription = { driver: 'pkcs11', location: '' };
  #process: TokenProcess | undefined;
  /** Set by a refused PIN: the answer to everything from then on. */
  #refusal: KeyStoreError | undefined;
  #closed = false;

  private constructor(options: Pkcs11Options) {
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
      store.#pin[Symbol.dispose]();
      throw error;
    }
    return store;
  }

  get description(): KeyStoreDescription {
    return this.#description;
  }

  async generateSigningKey(algorithm?: SigningAlgorithm): Promise<SigningKey> {
    return signingKeyOf(await this.#request({ op: 'generateSigningKey', algorithm }));
  }

  async signingKey(id: KeyId): Promise<SigningKey> {
    return signingKeyOf(await this.#request({ op: 'signingKey', id: keyIdBytes(id) }));
  }

  async sign(id: KeyId, message: Uint8Array): Promise<Uint8Array> {
    checkMessage(message);
    return bare(await this.#request({ op: 'sign', id: keyIdBytes(id), message }));
  }

  async generateRoot(): Promise<KeyId> {
    return keyIdOf(await this.#request({ op: 'generateRoot' }));
  }

  async prf(root: KeyId, label: Uint8Array, length: number): Promise<Secret> {
    checkPrf(label, length);
    return Secret.take(await this.#request({ op: 'prf', id: keyIdBytes(root), label, length }));
  }

  async destroy(id: KeyId): Promise<void> {
    await this.#request({ op: 'destroy', id: keyIdBytes(id) });
  }

  async list(): Promise<readonly KeyStoreEntry[]> {
    const entries = await this.#request({ op: 'list' });
    return entries.map(({ id, kind, algorithm }) =>
      algorithm === undefined ? { id: keyIdOf(id), kind } : { id: keyIdOf(id), kind, algorithm },
    );
  }

  async close(): Promise<void> {
    await this.#requests.run(async () => {
      if (this.#closed) return;
      this.#closed = true;
      this.#pin[Symbol.dispose]();
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

  async #request<R extends Request>(request: R): Promise<Results[R['op']]> {
    return this.#requests.run(async () => {
      try {
        return await this.#ask(request);
      } catch (error) {
        if (!(error instanceof TokenProcessError) || error.recovery !== 'restart-and-retry')
          throw error;
        return await this.#ask(request);
      }
    });
  }

  async #ask<R extends Request>(request: R): Promise<Results[R['op']]> {
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
      if (error instanceof TokenProcessError && error.recovery !== 'none') await process.kill();
      throw error;
    }
  }

  async #connected(): Promise<TokenProcess> {
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

  async #connect(): Promise<TokenProcess> {
    const { module, tokenLabel, onEvent } = this.#options;
    const process = new TokenProcess(this.#options);
    onEvent?.({ kind: 'process-started', pid: process.pid });
    void process.ended.then((how) => onEvent?.({ kind: 'process-ended', how }));
    const pin = new Uint8Array(this.#pin.expose());
    try {
      const { model, pinTriesLow } = await process.request({ op: 'open', module, tokenLabel, pin });
      if (pinTriesLow) onEvent?.({ kind: 'pin-tries-low' });
      this.#description = { driver: 'pkcs11', location: `${tokenLabel} (${model})` };
      this.#process = process;
      return process;
    } catch (error) {
      await process.kill();
      throw error;
    } finally {
      pin.fill(0);
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

function signingKeyOf({ id, algorithm, publicKey }: WireSigningKey): SigningKey {
  return { id: keyIdOf(id), algorithm, publicKey: bare(publicKey) };
}

/** The channel delivers some byte strings as Buffers. */
function bare(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
