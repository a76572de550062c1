/**
 * The files under an audit log, and what each operation guarantees when it returns.
 *
 * Paths are relative to the log's folder, `/`-separated. The Node driver relies on fdatasync making file
 * contents durable, on rename within a folder being atomic, and on fsync of the folder making it durable.
 */
import { type FileHandle, mkdir, open, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { replaceFile } from '../files/atomic-file.ts';
import { fileError, onFile } from '../files/errors.ts';
import { openForAppend } from '../files/log-file.ts';

export interface LogFiles extends AsyncDisposable {
  /** The whole file, or undefined when there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Replaces the file whole: after a crash it holds the old or the new bytes. Durable on return. */
  replace(path: string, bytes: Uint8Array): Promise<void>;
  /** Adds bytes at the end; after a crash any part of them may stand there. Durable on return. */
  append(path: string, bytes: Uint8Array): Promise<void>;
  /** Cuts the file to `length` bytes. Durable on return. */
  truncate(path: string, length: number): Promise<void>;
}

export class NodeLogFiles implements LogFiles {
  readonly #dir: string;
  readonly #folders = new Set<string>();
  readonly #appending = new Map<string, FileHandle>();

  /** @param dir folder of the log; made on the first write */
  constructor(dir: string) {
    this.#dir = dir;
  }

  async read(path: string): Promise<Uint8Array | undefined> {
    try {
      return await readFile(join(this.#dir, path));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw fileError(join(this.#dir, path), error);
    }
  }

  async replace(path: string, bytes: Uint8Array): Promise<void> {
    const target = join(this.#dir, path);
    await this.#ensureFolder(dirname(target));
    await replaceFile(target, bytes);
  }

  async append(path: string, bytes: Uint8Array): Promise<void> {
    const file = this.#appending.get(path) ?? (await this.#openForAppend(path));
    await onFile(join(this.#dir, path), async () => {
      await file.appendFile(bytes);
      await file.datasync();
    });
  }

  async truncate(path: string, length: number): Promise<void> {
    const file = this.#appending.get(path) ?? (await this.#openForAppend(path));
    await onFile(join(this.#dir, path), async () => {
      await file.truncate(length);
      await file.datasync();
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const file of this.#appending.values()) await file.close();
    this.#appending.clear();
  }

  async #openForAppend(path: string): Promise<FileHandle> {
    const target = join(this.#dir, path);
    await this.#ensureFolder(dirname(target));
    const file = await openForAppend(target);
    this.#appending.set(path, file);
    await syncFolder(dirname(target));
    return file;
  }

  /** Makes the folder and every missing one above it within the log, each entry durable in its parent. */
  async #ensureFolder(folder: string): Promise<void> {
    if (this.#folders.has(folder)) return;
    const first = await onFile(folder, () => mkdir(folder, { recursive: true, mode: 0o700 }));
    if (first !== undefined) {
      const made = relative(dirname(first), folder).split('/');
      for (let depth = 0; depth < made.length; depth++) {
        await syncFolder(join(dirname(first), ...made.slice(0, depth)));
      }
    }
    this.#folders.add(folder);
  }
}

async function syncFolder(folder: string): Promise<void> {
  await using handle = await open(folder, 'r');
  await handle.sync();
}
