import { KeyStoreError } from './errors.ts';
import type { KeyId } from './key-store.ts';

/** Length of a CKA_ID of ours, in bytes. */
export const KEY_ID_LENGTH = 16;

/** @param bytes 16 bytes */
export function keyIdOf(bytes: Uint8Array): KeyId {
  if (bytes.length !== KEY_ID_LENGTH) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      `key id: expected ${KEY_ID_LENGTH} bytes, got ${bytes.length}`,
    );
  }
  return Buffer.from(bytes).toString('hex') as KeyId;
}

/** @returns 16 bytes  @throws KEYSTORE_NO_SUCH_KEY when `id` is not 32 lower-case hex digits: no key has such a name */
export function keyIdBytes(id: string): Uint8Array {
  if (!/^[0-9a-f]{32}$/.test(id)) {
    throw new KeyStoreError(
      'KEYSTORE_NO_SUCH_KEY',
      `key id: expected 32 lower-case hex digits, got ${JSON.stringify(id.slice(0, 40))}`,
    );
  }
  return new Uint8Array(Buffer.from(id, 'hex'));
}
