/**
 * What the agent tells its operator while it runs: one line of JSON per event, on stderr.
 * Event names and fields are interface: fields are added, never renamed. No secret, no WireGuard public key.
 *
 * What a peer does wrong again and again is one event again and again, and the file that takes it up only grows: each event has a
 * rate, and what was left out is counted in the next line of it.
 */

import { Allowance } from '#src/allowance';
import type { Clock } from '#src/clock';
import { visibleJson } from '#src/visible';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Journal {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** `event` with the `code` (`none` where it has none) and `message` of what was thrown. @param level @default 'warn' */
  failed(event: string, error: unknown, fields?: LogFields, level?: LogLevel): void;
}

/** Code and message of anything thrown; what is no error is its text. */
export function failureOf(error: unknown): { readonly code: string; readonly message: string } {
  if (!(error instanceof Error)) return { code: 'none', message: String(error) };
  const { code } = error as { code?: unknown };
  return { code: typeof code === 'string' ? code : 'none', message: error.message };
}

/** A journal whose lines all go to `log`. */
export function journalOf(
  log: (level: LogLevel, event: string, fields: LogFields) => void,
): Journal {
  const at =
    (level: LogLevel) =>
    (event: string, fields: LogFields = {}) =>
      log(level, event, fields);
  return {
    debug: at('debug'),
    info: at('info'),
    warn: at('warn'),
    error: at('error'),
    failed: (event, error, fields = {}, level = 'warn') =>
      log(level, event, { ...fields, ...failureOf(error) }),
  };
}

/** Lines of one event, below the level of errors. */
const LINES = { burst: 512, perSecond: 1, maxPeers: 1_024 };

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export function createJournal(
  clock: Clock,
  level: LogLevel,
  write: (line: string) => void,
): Journal {
  const allowance = new Allowance<string>(clock, LINES);
  const omitted = new Map<string, number>();
  return journalOf((at, event, fields) => {
    if (ORDER.indexOf(at) < ORDER.indexOf(level)) return;
    if (at !== 'error' && !allowance.take(event)) {
      omitted.set(event, (omitted.get(event) ?? 0) + 1);
      return;
    }
    const left = omitted.get(event);
    omitted.delete(event);
    const time = new Date(clock.now()).toISOString();
    const line = {
      time,
      level: at.toUpperCase(),
      event,
      ...fields,
      ...(left === undefined ? {} : { omitted: left }),
    };
    write(`${visibleJson(JSON.stringify(line))}\n`);
  });
}
