/** Time as the program sees it. Real in `agent/compose.ts`, simulated in `test/support/`. */
export interface Clock {
  /** Milliseconds since the Unix epoch: what is shown and signed. It may jump either way at any moment. */
  now(): number;
  /** Milliseconds since some moment of this run, never backwards: for intervals, deadlines, pauses and rates. */
  monotonic(): number;
  /** Resolves after `ms`; rejects with the signal's reason when it aborts first. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

/** KERI date-time of `ms`: `YYYY-MM-DDTHH:MM:SS.ffffff+00:00`, 32 characters (microseconds, explicit offset). */
export function formatDateTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, -1)}000+00:00`;
}

/** Inverse of {@link formatDateTime}; undefined when `text` is not exactly of that form. Microseconds are cut. */
export function parseDateTime(text: string): number | undefined {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/.test(text)) return undefined;
  const ms = Date.parse(`${text.slice(0, 23)}Z`);
  if (Number.isNaN(ms) || new Date(ms).toISOString().slice(0, 23) !== text.slice(0, 23))
    return undefined;
  return ms;
}
