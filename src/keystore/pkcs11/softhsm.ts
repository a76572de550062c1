/** SoftHSM 2, the software token: same interface as a hardware one, keys in files under one directory. */
import { access, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Secret } from '#src/secret';
import { replaceFile } from '../../files/atomic-file.ts';
import { KeyStoreError } from '../errors.ts';
import { KeyProcess } from '../process/key-process.ts';
import { requireModule, tokenProgram } from './pkcs11-key-store.ts';

/** Where distributions put the module. */
const MODULE_PATHS = [
  '/usr/lib/softhsm/libsofthsm2.so',
  '/usr/lib64/softhsm/libsofthsm2.so',
  '/usr/lib64/pkcs11/libsofthsm2.so',
  '/usr/lib/pkcs11/libsofthsm2.so',
  '/usr/local/lib/softhsm/libsofthsm2.so',
];

export interface SoftHsm {
  readonly module: string;
  /** For `Pkcs11Options.environment`: names the configuration file. */
  readonly environment: Readonly<Record<string, string>>;
}

/** @throws KEYSTORE_NO_MODULE when SoftHSM is not installed in a usual place */
export async function findSoftHsmModule(): Promise<string> {
  for (const path of MODULE_PATHS) {
    if (await exists(path)) return path;
  }
  throw new KeyStoreError(
    'KEYSTORE_NO_MODULE',
    `SoftHSM: no libsofthsm2.so in ${MODULE_PATHS.length} usual places`,
    {
      hint: 'Install the package softhsm2, or name the module in the configuration',
    },
  );
}

/** The environment of a token that `provisionSoftHsm` made in `directory`. */
export function softHsmEnvironment(directory: string): Readonly<Record<string, string>> {
  return { SOFTHSM2_CONF: join(resolve(directory), 'softhsm2.conf') };
}

/**
 * Makes a token of its own in `directory` (created with mode 0700): `softhsm2.conf` and `tokens/`.
 * @param soPin security officer's PIN, 4 to 255 bytes of UTF-8  @param pin the user's, the same
 * @throws KEYSTORE_NO_MODULE, KEYSTORE_NO_PKCS11, KEYSTORE_TOKEN_EXISTS, KEYSTORE_BAD_LENGTH, KEYSTORE_TOKEN_FAILED
 */
export async function provisionSoftHsm(
  directory: string,
  tokenLabel: string,
  soPin: Secret,
  pin: Secret,
  module?: string,
): Promise<SoftHsm> {
  const path = module ?? (await findSoftHsmModule());
  await requireModule(path);
  const root = resolve(directory);
  if (/[\r\n]/.test(root)) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      'SoftHSM directory: its path must not contain a line break',
    );
  }
  const labelLength = Buffer.byteLength(tokenLabel);
  if (labelLength < 1 || labelLength > 32) {
    throw new KeyStoreError(
      'KEYSTORE_BAD_LENGTH',
      `token label: expected 1 to 32 bytes, got ${labelLength}`,
    );
  }
  const tokens = join(root, 'tokens');
  await mkdir(tokens, { recursive: true, mode: 0o700 });
  const environment = softHsmEnvironment(root);
  const configuration = `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\nslots.removable = false\n`;
  await replaceFile(join(root, 'softhsm2.conf'), Buffer.from(configuration));
  const process = new KeyProcess(tokenProgram, { environment });
  try {
    await process.request({ op: 'initialise', module: path, tokenLabel }, [soPin, pin]);
  } finally {
    await process.disconnect();
  }
  return { module: path, environment };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
