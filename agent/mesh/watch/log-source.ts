/** Logs from outside the mesh, as bytes: from a file, or over HTTP through a seam. */
import { parseStream } from '#kel/cesr/stream';
import { parseKeyEvent } from '#kel/event/parse';
import type { Aid } from '#kel/identifiers';
import { FileError } from '#src/files/errors';
import { readRegularFile } from '#src/files/regular-file';
import { WatchError } from './errors.ts';

/** Bytes of one file that is imported. */
const MAX_FILE_BYTES = 32 << 20;
/** Bytes of one answer over HTTP. */
export const MAX_FETCH_BYTES = 8 << 20;
export const FETCH_MS = 30_000;

/** @returns at most `maxBytes`; throws WATCH_UNREACHABLE, WATCH_TOO_LARGE */
export type FetchLog = (url: string, maxBytes: number, signal: AbortSignal) => Promise<Uint8Array>;

/** @throws WATCH_UNREADABLE, WATCH_TOO_LARGE */
export function readLogFile(path: string): Uint8Array {
  try {
    return readRegularFile(path, MAX_FILE_BYTES);
  } catch (cause) {
    const isTooLarge = cause instanceof FileError && cause.code === 'FILE_TOO_LARGE';
    throw isTooLarge
      ? new WatchError('WATCH_TOO_LARGE', cause.message, { cause })
      : new WatchError('WATCH_UNREADABLE', `cannot read ${path}: ${(cause as Error).message}`, {
          cause,
        });
  }
}

/** @throws WATCH_BAD_SOURCE unless it is a plain http or https address without credentials */
export function checkUrl(text: string): string {
  const url = URL.parse(text);
  const isPlain =
    url !== null &&
    (url.protocol === 'http:' || url.protocol === 'https:') &&
    url.username === '' &&
    url.password === '' &&
    text.length <= 2_048;
  if (!isPlain)
    throw new WatchError(
      'WATCH_BAD_SOURCE',
      `expected an http or https address without a user, got ${JSON.stringify(text.slice(0, 128))}`,
    );
  return url.href;
}

/**
 * The AIDs that a stream about `aid` has a say in: itself, and its delegators as far as the stream names them.
 * @param stream of any origin  @throws WATCH_NOT_CESR when it holds no key event at all
 */
export function concerned(stream: Uint8Array, aid: Aid): ReadonlySet<Aid> {
  const delegators = new Map<Aid, Aid>();
  let events = 0;
  for (const item of parseStream(stream)) {
    if (item.type === 'fault' || item.version.protocol !== 'KERI') continue;
    try {
      const event = parseKeyEvent(item.body);
      events += 1;
      if (event.type === 'dip' && event.delegator !== undefined)
        delegators.set(event.aid, event.delegator);
    } catch {
      // Other messages, and what the store will name as refused.
    }
  }
  if (events === 0) throw new WatchError('WATCH_NOT_CESR', 'the source holds no key event');
  const aids = new Set<Aid>();
  for (let at: Aid | undefined = aid; at !== undefined && !aids.has(at); at = delegators.get(at))
    aids.add(at);
  return aids;
}
