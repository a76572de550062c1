/** Choice of the primitives at start-up: the fast twin where the machine has it, else the portable one. */
import { CryptoError } from './errors.ts';
import type { CryptoSuite } from './suite.ts';

/**
 * Without a name: `fast`, or `portable` when a native part does not load here.
 * @throws CRYPTO_SUITE_UNAVAILABLE when `fast` is asked by name and does not load
 */
export async function loadCryptoSuite(name?: CryptoSuite['name']): Promise<CryptoSuite> {
  if (name !== 'portable') {
    try {
      const { createFastSuite } = await import('./fast.ts');
      return createFastSuite();
    } catch (cause) {
      if (name === 'fast') {
        throw new CryptoError(
          'CRYPTO_SUITE_UNAVAILABLE',
          'the fast suite does not load on this machine',
          { cause },
        );
      }
    }
  }
  const { createPortableSuite } = await import('./portable.ts');
  return createPortableSuite();
}
