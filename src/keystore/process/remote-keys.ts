/** A key store in another process, as far as all of them are alike: calls to requests, results to values. */

import { Secret } from '#src/secret';
import { keyIdBytes, keyIdOf } from '../key-id.ts';
import type { KeyStore, SigningKey } from '../key-store.ts';
import { checkMessage, checkPrf } from '../limits.ts';
import type { Request, Results, WireSigningKey } from './protocol.ts';

export type Ask = <R extends Request>(request: R) => Promise<Results[R['op']]>;

export type RemoteKeys = Omit<KeyStore, 'description' | 'backUp' | 'close'>;

export function remoteKeys(ask: Ask): RemoteKeys {
  return {
    generateSigningKey: async (algorithm) =>
      signingKeyOf(await ask({ op: 'generateSigningKey', algorithm })),
    signingKey: async (id) => signingKeyOf(await ask({ op: 'signingKey', id: keyIdBytes(id) })),
    sign: async (id, message) => {
      checkMessage(message);
      return bare(await ask({ op: 'sign', id: keyIdBytes(id), message }));
    },
    generateRoot: async () => keyIdOf(await ask({ op: 'generateRoot' })),
    prf: async (root, label, length) => {
      checkPrf(label, length);
      return Secret.take(await ask({ op: 'prf', id: keyIdBytes(root), label, length }));
    },
    destroy: async (id) => {
      await ask({ op: 'destroy', id: keyIdBytes(id) });
    },
    list: async () =>
      (await ask({ op: 'list' })).map(({ id, kind, algorithm }) =>
        algorithm === undefined ? { id: keyIdOf(id), kind } : { id: keyIdOf(id), kind, algorithm },
      ),
  };
}

function signingKeyOf({ id, algorithm, publicKey }: WireSigningKey): SigningKey {
  return { id: keyIdOf(id), algorithm, publicKey: bare(publicKey) };
}

/** The channel delivers some byte strings as Buffers. */
function bare(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
