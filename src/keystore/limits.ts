/** Bounds that every driver keeps, so that one that has none does not promise more than a token. */
import { HKDF_MAX_LENGTH } from '#src/crypto/hash';
import { KeyStoreError } from './errors.ts';

/** Longest message to sign, in bytes. */
export const MAX_MESSAGE_LENGTH = 1 << 20;

/** Longest derivation label, in bytes. */
export const MAX_LABEL_LENGTH = 1 << 16;

/** An empty message is refused too: tokens fail on it and leave the session stuck. @throws KEYSTORE_BAD_LENGTH */
export function checkMessage(message: Uint8Array): void {
  if (message.length < 1 || message.length > MAX_MESSAGE_LENGTH) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      `message: expected 1 to ${MAX_MESSAGE_LENGTH} bytes, got ${message.length}`,
    );
  }
}

/** @throws KEYSTORE_BAD_LENGTH */
export function checkPrf(label: Uint8Array, length: number): void {
  if (label.length > MAX_LABEL_LENGTH) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      `label: expected at most ${MAX_LABEL_LENGTH} bytes, got ${label.length}`,
    );
  }
  if (!Number.isInteger(length) || length < 1 || length > HKDF_MAX_LENGTH) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      `prf output: expected 1 to ${HKDF_MAX_LENGTH} bytes, got ${length}`,
    );
  }
}
