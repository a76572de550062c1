/** SoftHSM behind a module that lies; compiled with the machine's C compiler, since only a module can lie as one. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import type { Pkcs11KeyStore, Pkcs11Options } from '#src/keystore/pkcs11/pkcs11-key-store';
import { createTestToken, softHsmProblem, type TestToken } from './softhsm.ts';

const run = promisify(execFile);
const source = fileURLToPath(new URL('./faulty-token.c', import.meta.url));

/** See `faulty-token.c`; `none` passes everything on. */
export type TokenLie =
  | 'none'
  | 'unreadable-slot'
  | 'no-session'
  | 'one-session'
  | 'one-session-once-broken'
  | 'logout'
  | 'lying-logout'
  | 'only-oid'
  | 'only-name'
  | 'no-curve';

export interface FaultyToken extends AsyncDisposable {
  readonly directory: string;
  open(lie: TokenLie, options?: Partial<Pkcs11Options>): Promise<Pkcs11KeyStore>;
}

/** Why there can be no such module here, or undefined. */
export async function faultyTokenProblem(): Promise<string | undefined> {
  const problem = await softHsmProblem();
  if (problem !== undefined) return problem;
  return run('cc', ['--version']).then(
    () => undefined,
    () => 'there is no C compiler (cc) to make the faulty module with',
  );
}

export async function createFaultyToken(): Promise<FaultyToken> {
  const token: TestToken = await createTestToken();
  const module = join(token.directory, 'faulty-token.so');
  await run('cc', ['-shared', '-fPIC', '-O1', '-o', module, source, '-ldl']);
  const environment = (lie: TokenLie) => ({
    ...token.environment,
    KELMESH_TEST_MODULE: token.module,
    KELMESH_TEST_FAULT: lie,
    KELMESH_TEST_MARK: join(token.directory, 'mark'),
  });
  return {
    directory: token.directory,
    open: (lie, options = {}) => token.open({ module, environment: environment(lie), ...options }),
    [Symbol.asyncDispose]: () => token.remove(),
  };
}
