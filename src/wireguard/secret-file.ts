/** A key handed to `wg` as a file descriptor: the file has lost its name before the key is in it. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { access, type FileHandle, open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '#src/secret';
import { encodeBase64Secret } from './base64-secret.ts';

const MEMORY = '/dev/shm';

/**
 * @param directory used where `/dev/shm`, which never reaches a disk, cannot be written
 * @returns an open file with `secret` in base64; the caller closes it
 */
export async function openSecretFile(secret: Secret, directory: string): Promise<FileHandle> {
  const memory = await access(MEMORY, constants.W_OK).then(
    () => true,
    () => false,
  );
  const path = join(memory ? MEMORY : directory, `kelmesh-${randomBytes(16).toString('hex')}`);
  const file = await open(path, 'wx+', 0o600);
  await rm(path);
  const line = encodeBase64Secret(secret);
  await file.write(line, 0, line.length, 0);
  await file.write('\n', line.length);
  line.fill(0);
  return file;
}
