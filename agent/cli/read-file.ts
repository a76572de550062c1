import { MeshError } from '#src/errors';
import { readRegularFile } from '#src/files/regular-file';
import { ConfigError } from '../organisation/config/errors.ts';

/** Bytes of any text that a command reads: certificates, requests, keys. */
export const MAX_TEXT_BYTES = 1 << 20;

/** A file that the user named, whole. Throws CONFIG_UNREADABLE, FILE_NOT_REGULAR, FILE_TOO_LARGE */
export function readFile(file: string, maxBytes: number): Uint8Array {
  try {
    return readRegularFile(file, maxBytes);
  } catch (error) {
    if (error instanceof MeshError) throw error;
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
