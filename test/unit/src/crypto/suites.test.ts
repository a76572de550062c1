import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { describe, it } from 'mocha';

const run = promisify(execFile);

/** Loads the suites in a process where sodium-native does not load, and says what came of it. */
const program = `
  import { registerHooks } from 'node:module';
  registerHooks({
    resolve(specifier, context, next) {
      if (specifier === 'sodium-native') throw new Error('no prebuilt binary');
      return next(specifier, context);
    },
  });
  const { loadCryptoSuite } = await import('#src/crypto/suites');
  console.log((await loadCryptoSuite()).name);
  await loadCryptoSuite('fast').catch((error) => console.log(error.code));
`;

describe('loadCryptoSuite', () => {
  it('falls back where a native part does not load, unless the fast suite was asked by name', async () => {
    const cwd = new URL('../../../..', import.meta.url);
    const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], {
      cwd,
    });
    assert.deepEqual(stdout.trim().split('\n'), ['portable', 'CRYPTO_SUITE_UNAVAILABLE']);
  });
});
