/** Logs over HTTP(S): one GET, no redirect, bounded in time and size. */
import { concatBytes } from '#src/bytes';
import { WatchError } from './errors.ts';
import type { FetchLog } from './log-source.ts';

export const fetchLog: FetchLog = async (url, maxBytes, signal) => {
  const pieces: Uint8Array[] = [];
  let size = 0;
  try {
    const response = await fetch(url, {
      redirect: 'error',
      signal,
      headers: { accept: 'application/cesr, application/json+cesr, application/octet-stream' },
    });
    if (!response.ok || response.body === null)
      throw new WatchError('WATCH_UNREACHABLE', `${url} answers ${response.status}`);
    for await (const piece of response.body) {
      size += piece.length;
      if (size > maxBytes)
        throw new WatchError('WATCH_TOO_LARGE', `${url} gives more than ${maxBytes} bytes`);
      pieces.push(piece);
    }
  } catch (error) {
    if (error instanceof WatchError) throw error;
    const { message, cause } = error as Error & { cause?: { message?: string } };
    throw new WatchError('WATCH_UNREACHABLE', `${url}: ${cause?.message ?? message}`, {
      cause: error,
    });
  }
  return concatBytes(...pieces);
};
