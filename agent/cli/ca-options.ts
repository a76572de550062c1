/** What the commands on the directory of a CA have in common. */

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { expectTrusted } from '#src/files/trust';
import type { CertificateAlgorithm } from '#src/mtls/key-algorithm';
import type { Secret } from '#src/secret';
import { readConfig } from '../organisation/config/config.ts';
import { ConfigError } from '../organisation/config/errors.ts';
import { askNewSecret, askSecret, readSecretFile } from '../organisation/config/secrets.ts';
import { type Invocation, type Option, optionText } from './command.ts';
import { UsageError } from './io.ts';

type Options = Readonly<Record<string, Option>>;

export const secretOption: Options = {
  'secret-file': {
    type: 'string',
    value: 'FILE',
    does: 'file (mode 0600) with the passphrase of the CA; another one than that of the key store',
  },
};

export const dirOption: Options = {
  dir: {
    type: 'string',
    value: 'DIR',
    does: 'directory of the CA; default: ca in the state directory',
  },
};

/** @param otherwise what holds where it is not given */
export function daysOption(otherwise: string): Options {
  const does = `life in days, at most 3650; default: ${otherwise}`;
  return { days: { type: 'string', value: 'N', does } };
}

export function algorithmOption(does: string): Options {
  return { algorithm: { type: 'string', value: 'ALGORITHM', does } };
}

export function caDirectory(invocation: Invocation): string {
  const path = optionText(invocation, 'dir') ?? join(readConfig(invocation.config).stateDir, 'ca');
  if (existsSync(path)) expectTrusted(path);
  return path;
}

/** From the file, or the terminal; asked twice when it `isNew`. Throws CONFIG_SECRET_MISSING, CONFIG_SECRET_EXPOSED. */
export async function caPassphrase(invocation: Invocation, isNew: boolean): Promise<Secret> {
  const file = optionText(invocation, 'secret-file');
  if (file !== undefined) return readSecretFile(file);
  const { stdin, stderr } = invocation.io;
  try {
    return await (isNew
      ? askNewSecret('new passphrase of the CA', stdin, stderr)
      : askSecret('passphrase of the CA', stdin, stderr));
  } catch (cause) {
    if (!(cause instanceof ConfigError)) throw cause;
    // The configuration names no passphrase of a CA, on purpose.
    throw new ConfigError(cause.code, cause.message, {
      cause,
      hint: 'Give `--secret-file FILE` with the passphrase of the CA (mode 0600), or run the command on a terminal',
    });
  }
}

export function lifeInDays(invocation: Invocation): { readonly days?: number } {
  const text = optionText(invocation, 'days');
  if (text === undefined) return {};
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1)
    throw new UsageError(`--days takes a whole number, got ${text}`);
  return { days: value };
}

export function keyAlgorithm(invocation: Invocation): {
  readonly algorithm?: CertificateAlgorithm;
} {
  const algorithm = optionText(invocation, 'algorithm');
  if (algorithm === undefined) return {};
  if (algorithm !== 'p384' && algorithm !== 'p256' && algorithm !== 'ed25519')
    throw new UsageError(`--algorithm takes p384, p256 or ed25519, got ${algorithm}`);
  return { algorithm };
}

/** Null for 0 and undefined: never. */
export function isoOrNull(ms: number | undefined): string | null {
  return ms === undefined || ms === 0 ? null : new Date(ms).toISOString();
}
