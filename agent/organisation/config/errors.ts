/** Errors of the configuration file. */
import { type ErrorDetails, type ErrorTable, MeshError } from '#src/errors';

export const configErrors = {
  CONFIG_NOT_FOUND: 'Give the file with `--config FILE`, or write one with `kelmesh init`',
  CONFIG_EXISTS: 'Edit the file, or give another with `--config FILE`',
  CONFIG_UNREADABLE: 'Make the file readable for the user who runs kelmesh',
  CONFIG_SYNTAX: 'Correct the named line; the file is TOML 1.0',
  CONFIG_UNKNOWN_KEY:
    'Remove the key or correct its spelling; `kelmesh config check --help` lists all keys',
  CONFIG_MISSING_KEY: 'Add the key; `kelmesh config check --help` lists all keys',
  CONFIG_BAD_VALUE: 'Correct the value; `kelmesh config check --help` says what each key takes',
  CONFIG_SECRET_EXPOSED: 'Run `chmod 600` on the file: it holds a secret and others can read it',
  CONFIG_SECRET_MISSING:
    'Name a file with the passphrase or PIN in the configuration, or run the command on a terminal',
} as const satisfies ErrorTable;

export class ConfigError extends MeshError<keyof typeof configErrors> {
  constructor(code: keyof typeof configErrors, message: string, details?: ErrorDetails) {
    super(code, message, configErrors, details);
  }
}
