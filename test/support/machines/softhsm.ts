/** A SoftHSM token of its own for a test, in a directory that goes with it. */
import { access, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Pkcs11KeyStore, type Pkcs11Options } from '#src/keystore/pkcs11/pkcs11-key-store';
import { findSoftHsmModule, provisionSoftHsm, type SoftHsm } from '#src/keystore/pkcs11/softhsm';
import { Secret } from '#src/secret';

export const TOKEN_LABEL = 'kelmesh test';
export const PIN = '482915';

export interface TestToken extends SoftHsm {
  readonly directory: string;
  /** Opens the token; options replace the right ones. */
  open(options?: Partial<Pkcs11Options>): Promise<Pkcs11KeyStore>;
  remove(): Promise<void>;
}

/** Why there can be no token here, or undefined. */
export async function softHsmProblem(): Promise<string | undefined> {
  try {
    await findSoftHsmModule();
    await access(
      new URL('../../../node_modules/pkcs11js/build/Release/pkcs11.node', import.meta.url),
    );
    return undefined;
  } catch (error) {
    return `SoftHSM or pkcs11js is not installed: ${error instanceof Error ? error.message : error}`;
  }
}

export async function createTestToken(): Promise<TestToken> {
  const directory = await mkdtemp(join(tmpdir(), 'kelmesh-softhsm-'));
  try {
    const token = await provisionSoftHsm(directory, TOKEN_LABEL, pinOf('so-7731'), pinOf(PIN));
    return {
      ...token,
      directory,
      open: (options) =>
        Pkcs11KeyStore.open({ ...token, tokenLabel: TOKEN_LABEL, pin: pinOf(PIN), ...options }),
      remove: () => rm(directory, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(directory, { recursive: true, force: true });
    throw error;
  }
}

export function pinOf(text: string): Secret {
  return new Secret(Buffer.from(text));
}
