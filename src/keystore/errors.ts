import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const keyStoreErrors = {
  KEYSTORE_NO_SUCH_KEY:
    'List the keys of the store: the key was destroyed, or the configuration names another store',
  KEYSTORE_BAD_LENGTH: 'Pass a value of the stated length; this is a programming error',
  KEYSTORE_CLOSED: 'Open the key store again; this is a programming error',
  KEYSTORE_UNSUPPORTED: 'Choose another algorithm or another token: this one lacks the mechanism',
  KEYSTORE_EXISTS: 'Choose another path, or open the key store that is there',
  KEYSTORE_NOT_FOUND:
    'Check the path in the configuration, put the backup of the key store back, or create one with kelmesh init',
  KEYSTORE_LOCKED: 'Stop the other process that uses this key store, then try again',
  KEYSTORE_WRONG_PASSPHRASE:
    'Enter the passphrase that this file was created with; there is no way around it',
  KEYSTORE_CORRUPT: 'Restore the file from a backup: it is cut, damaged or not a key store',
  KEYSTORE_IO: 'Check the file system: space, permissions, and that it is not read-only',
  KEYSTORE_NO_PKCS11:
    'Install a C++ compiler, make and python3, then run node deploy/setup.mjs install',
  KEYSTORE_NO_MODULE:
    "Install the token's PKCS#11 module, or correct its path in the configuration",
  KEYSTORE_NO_TOKEN: 'Insert or initialise the token, or correct its label in the configuration',
  KEYSTORE_AMBIGUOUS_TOKEN: 'Give each token a label of its own, or remove all but one',
  KEYSTORE_TOKEN_EXISTS: 'Choose another directory, or open the token that is there',
  KEYSTORE_WRONG_PIN:
    'Check the PIN before trying again: most tokens lock after three wrong ones, and nothing retries it by itself',
  KEYSTORE_PIN_LAST_TRY:
    "Log in once by hand with the token's own tool to reset the counter: one more wrong PIN would lock the token",
  KEYSTORE_PIN_LOCKED: "Unlock the PIN with the security officer's PIN and the token's own tool",
  KEYSTORE_TOKEN_GONE: 'Insert the token again; the next call connects to it by itself',
  KEYSTORE_FULL: 'Destroy keys that are no longer needed, or use a token with more space',
  KEYSTORE_TOKEN_FAILED: "Look up the CKR code in the manual of the token's module",
  KEYSTORE_CHILD_DIED:
    'Nothing to do when it happens once and the secret is in a file: the next call starts the process again. If it repeats, memory is short or the module of the token is faulty',
} as const satisfies ErrorTable;

export type KeyStoreErrorCode = keyof typeof keyStoreErrors;

export class KeyStoreError extends MeshError<KeyStoreErrorCode> {
  constructor(code: KeyStoreErrorCode, message: string, details?: ErrorDetails) {
    super(code, message, keyStoreErrors, details);
  }
}
