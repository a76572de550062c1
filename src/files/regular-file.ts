/**
 * Reading a file that somebody else may have put there: a regular one, of bounded size.
 *
 * It is opened without waiting and judged by what was opened, not by its name: a pipe without a writer would hold the
 * process for ever, a device has no end, and what is looked at first can be replaced before it is opened.
 */
import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import { FileError } from './errors.ts';

const READ = constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY;
/** Bytes read at a time where the size is not known: files of /proc say 0. */
const CHUNK = 1 << 20;

/**
 * The whole file.
 * @param maxBytes more is refused before it is read
 * @throws FILE_NOT_REGULAR, FILE_TOO_LARGE, and what the system says (`ENOENT` and others), unchanged
 */
export function readRegularFile(path: string, maxBytes: number): Buffer {
  const chunks = [...regularFileChunks(path, maxBytes)];
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks);
}

/** The same in pieces, each with memory of its own. */
export function* regularFileChunks(path: string, maxBytes: number): Generator<Buffer> {
  const fd = openSync(path, READ);
  try {
    const stat = fstatSync(fd);
    if (!stat.isFile()) throw new FileError('FILE_NOT_REGULAR', `${path}: is no regular file`);
    if (stat.size > maxBytes) throw tooLarge(path, stat.size, maxBytes);
    for (let total = 0; ; ) {
      const room = Math.min(CHUNK, maxBytes + 1 - total);
      const buffer = Buffer.allocUnsafeSlow(room);
      const length = readSync(fd, buffer);
      if (length === 0) return;
      total += length;
      // It has grown since, or is one of those that do not say how long they are.
      if (total > maxBytes) throw tooLarge(path, total, maxBytes);
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}

function tooLarge(path: string, size: number, maxBytes: number): FileError {
  return new FileError(
    'FILE_TOO_LARGE',
    `${path}: has ${size} bytes or more, at most ${maxBytes} are read`,
  );
}
