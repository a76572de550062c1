/** Epochs of preshared keys: equal stretches of wall-clock time, numbered from the Unix epoch, so that both ends change at the same instant. */

/** Shortest and longest epoch, seconds. */
export const MIN_EPOCH_SECONDS = 120;
export const MAX_EPOCH_SECONDS = 86_400;

/** Largest epoch number: its end is an exact number of milliseconds for every length. */
export const MAX_EPOCH = 100_000_000;

/** @param nowMs milliseconds since the Unix epoch  @returns floor(unix seconds / epochSeconds), never below 0 */
export function epochAt(nowMs: number, epochSeconds: number): number {
  return Math.max(0, Math.floor(nowMs / (epochSeconds * 1000)));
}

/**
 * What the end that holds `own` does when the other one says that it holds `other`, of one agreement. At a boundary one end is a
 * moment behind, and follows; ends that are further apart have no chain in common and agree afresh.
 */
export function compareEpochs(own: number, other: number): 'same' | 'follow' | 'tell' | 'afresh' {
  if (own === other) return 'same';
  if (Math.abs(own - other) > 1) return 'afresh';
  return own < other ? 'follow' : 'tell';
}

/** First millisecond of `epoch`. */
export function epochStart(epoch: number, epochSeconds: number): number {
  return epoch * epochSeconds * 1000;
}
