/**
 * Several ways to one peer, tried side by side: each begins a moment after the one before it, or as soon as that has failed, and the
 * first that leads there ends the others. So no address that swallows packets holds up one that answers.
 */
import type { Clock } from '#src/clock';

/** Before the next way is tried beside those under way. */
const HEAD_START_MS = 250;

export interface DialRace<Way, Connection> {
  readonly clock: Pick<Clock, 'sleep'>;
  /** Best first. */
  readonly ways: readonly Way[];
  readonly signal: AbortSignal;
  take(way: Way, signal: AbortSignal): Promise<Connection>;
  /** One that has come although another was first. */
  surplus(connection: Connection): void;
}

/** @throws the reason of `signal`, or an AggregateError with that of each way */
export async function raceDials<Way, Connection>(
  race: DialRace<Way, Connection>,
): Promise<Connection> {
  const { clock, ways, signal, take, surplus } = race;
  const over = new AbortController();
  const until = AbortSignal.any([signal, over.signal]);
  let winner: Connection | undefined;
  const attempt = async (way: Way): Promise<Connection> => {
    const connection = await take(way, until);
    if (winner === undefined && !until.aborted) {
      winner = connection;
      over.abort();
      return connection;
    }
    surplus(connection);
    throw new Error('another way was first');
  };
  const attempts: Promise<Connection>[] = [];
  try {
    for (const way of ways) {
      if (until.aborted) break;
      const next = attempt(way);
      attempts.push(next);
      const pause = new AbortController();
      const headStart = clock
        .sleep(HEAD_START_MS, AbortSignal.any([until, pause.signal]))
        .catch(() => undefined);
      await Promise.race([headStart, next.catch(() => undefined)]);
      pause.abort();
    }
    signal.throwIfAborted();
    return await Promise.any(attempts);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    over.abort();
    for (const one of attempts) one.catch(() => undefined);
  }
}
