/**
 * What the agent tells its operator while it runs: one line of JSON per event, on stderr.
 * Event names and fields are interface: fields are added, never renamed. No secret, no WireGuard public key.
 */

import type { Clock } from '#src/clock';
import { visibleJson } from '#src/visible';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

export interface Journal {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

export function createJournal(
  clock: Clock,
  level: LogLevel,
  write: (line: string) => void,
): Journal {
  const log =
    (at: LogLevel) =>
    (event: string, fields: LogFields = {}) => {
      if (ORDER.indexOf(at) < ORDER.indexOf(level)) return;
      write(
        `${visibleJson(JSON.stringify({ time: new Date(clock.now()).toISOString(), level: at.toUpperCase(), event, ...fields }))}\n`,
      );
    };
  return { debug: log('debug'), info: log('info'), warn: log('warn'), error: log('error') };
}
