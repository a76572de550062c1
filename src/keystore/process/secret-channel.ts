/**
 * Passphrases and PINs on their way from one process of ours to the next: over a pipe of their own, as bytes that both ends wipe.
 * The channel of a fork would leave copies of them in buffers that nobody can reach.
 *
 *   frame = length (u16, big-endian) || secret
 */
import { readSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { Secret, secretBytes } from '#src/secret';

/** The pipe's descriptor in the child; 0 to 2 are standard streams, 3 is the channel of the fork. */
export const SECRET_FD = 4;

const HEADER_LENGTH = 2;
/** Bytes of one secret. */
const MAX_LENGTH = 4_096;

/** Resolves when the bytes are with the system, and wiped here. @throws RangeError above 4,096 bytes */
export function writeSecret(pipe: Writable, secret: Secret): Promise<void> {
  if (secret.length > MAX_LENGTH)
    throw new RangeError(`expected at most ${MAX_LENGTH} bytes, got ${secret.length}`);
  const frame = secretBytes(HEADER_LENGTH + secret.length);
  frame.writeUInt16BE(secret.length);
  frame.set(secret.expose(), HEADER_LENGTH);
  return new Promise((resolve, reject) => {
    pipe.write(frame, (error) => {
      frame.fill(0);
      if (error == null) resolve();
      else reject(error);
    });
  });
}

/** Waits for one secret. Undefined when the other end has closed, or sends something else. */
export function readSecret(descriptor = SECRET_FD): Secret | undefined {
  const header = read(descriptor, HEADER_LENGTH);
  const length = header?.readUInt16BE() ?? 0;
  const bytes = length > MAX_LENGTH ? undefined : read(descriptor, length);
  return header === undefined || bytes === undefined ? undefined : Secret.take(bytes);
}

function read(descriptor: number, length: number): Buffer | undefined {
  const bytes = secretBytes(length);
  for (let at = 0; at < length; ) {
    const got = readSync(descriptor, bytes, at, length - at, null);
    if (got === 0) {
      bytes.fill(0);
      return undefined;
    }
    at += got;
  }
  return bytes;
}
