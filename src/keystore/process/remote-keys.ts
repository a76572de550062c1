/** A key store in another process, as far as all of them are alike: calls to requests, results to values. */

import { Secret } from '#src/secret';
import { keyIdBytes, keyIdOf } from '../key-id.ts';
import type { KeyId, KeyStore, KeyStoreEntry, SigningAlgorithm, SigningKey } from '../key-store.ts';
import { checkMessage, checkPrf } from '../limits.ts';
import type { KeyStoreRequest, Results, WireSigningKey } from './protocol.ts';

export type Ask = <R extends KeyStoreRequest>(request: R) => Promise<Results[R['op']]>;

/** What a store is given, and how it ends, is its own affair. */
export abstract class RemoteKeys implements Omit<KeyStore, 'description' | 'backUp' | 'close'> {
  readonly #ask: Ask;

  constructor(ask: Ask) {
    this.#ask = ask;
  }

  async generateSigningKey(algorithm?: SigningAlgorithm): Promise<SigningKey> {
    return signingKeyOf(await this.#ask({ op: 'generateSigningKey', algorithm }));
  }

  async signingKey(id: KeyId): Promise<SigningKey> {
    return signingKeyOf(await this.#ask({ op: 'signingKey', id: keyIdBytes(id) }));
  }

  async sign(id: KeyId, message: Uint8Array): Promise<Uint8Array> {
    checkMessage(message);
    return bare(await this.#ask({ op: 'sign', id: keyIdBytes(id), message }));
  }

  async generateRoot(): Promise<KeyId> {
    return keyIdOf(await this.#ask({ op: 'generateRoot' }));
  }

  async prf(root: KeyId, label: Uint8Array, length: number): Promise<Secret> {
    checkPrf(label, length);
    return Secret.take(await this.#ask({ op: 'prf', id: keyIdBytes(root), label, length }));
  }

  async destroy(id: KeyId): Promise<void> {
    await this.#ask({ op: 'destroy', id: keyIdBytes(id) });
  }

  async list(): Promise<readonly KeyStoreEntry[]> {
    return (await this.#ask({ op: 'list' })).map(({ id, kind, algorithm }) =>
      algorithm === undefined ? { id: keyIdOf(id), kind } : { id: keyIdOf(id), kind, algorithm },
    );
  }
}

function signingKeyOf({ id, algorithm, publicKey }: WireSigningKey): SigningKey {
  return { id: keyIdOf(id), algorithm, publicKey: bare(publicKey) };
}

/** The channel delivers some byte strings as Buffers. */
function bare(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
