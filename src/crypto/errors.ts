import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const cryptoErrors = {
  CRYPTO_BAD_KEY:
    'Check where the key comes from: it is not a valid key of this algorithm, and nothing was computed with it',
  CRYPTO_BAD_LENGTH:
    'Pass a value of the stated length; this is a programming error or a corrupt input',
  CRYPTO_UNSEAL_FAILED:
    'The sealed data was changed, or it was sealed under another key or for another place: restore it from a backup',
  CRYPTO_SUITE_UNAVAILABLE:
    'Reinstall the dependencies for this platform with npm ci, or choose the portable suite',
} as const satisfies ErrorTable;

export class CryptoError extends MeshError<keyof typeof cryptoErrors> {
  constructor(code: keyof typeof cryptoErrors, message: string, details?: ErrorDetails) {
    super(code, message, cryptoErrors, details);
  }
}

/** @throws CRYPTO_BAD_LENGTH unless `bytes` has exactly `length` bytes */
export function expectLength(name: string, bytes: Uint8Array, length: number): void {
  if (bytes.length !== length) {
    throw new CryptoError(
      'CRYPTO_BAD_LENGTH',
      `${name}: expected ${length} bytes, got ${bytes.length}`,
    );
  }
}
