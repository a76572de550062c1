import { readFileSync } from 'node:fs';
import { ConfigError } from '../config/errors.ts';

/** A file that the user named, whole. Throws CONFIG_UNREADABLE */
export function readFile(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw unreadable(file, error);
  }
}

/** CONFIG_UNREADABLE for a file that the user named, with what the system said. */
export function unreadable(file: string, cause: unknown): ConfigError {
  return new ConfigError('CONFIG_UNREADABLE', `cannot read ${file}: ${(cause as Error).message}`, {
    cause,
    hint: 'Check the path and its permissions',
  });
}
