/** Errors of the configuration file. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const configErrors = {
  CONFIG_NOT_FOUND: 'give the file with `--config FILE`, or write one with `kelmesh init`',
  CONFIG_EXISTS: 'edit the file, or give another with `--config FILE`',
  CONFIG_UNREADABLE: 'make the file readable for the user who runs kelmesh',
  CONFIG_SYNTAX: 'correct the named line; the file is TOML 1.0',
  CONFIG_UNKNOWN_KEY:
    'remove the key or correct its spelling; `kelmesh config check --help` lists all keys',
  CONFIG_MISSING_KEY: 'add the key; `kelmesh config check --help` lists all keys',
  CONFIG_BAD_VALUE: 'correct the value; `kelmesh config check --help` says what each key takes',
  CONFIG_SECRET_EXPOSED: 'run `chmod 600` on the file: it holds a secret and others can read it',
  CONFIG_SECRET_MISSING:
    'name a file with the passphrase or PIN in the configuration, or run the command on a terminal',
} as const satisfies ErrorTable;

export class ConfigError extends MeshError<keyof typeof configErrors> {
  constructor(code: keyof typeof configErrors, message: string, details?: ErrorDetails) {
    super(code, message, configErrors, details);
  }
}
