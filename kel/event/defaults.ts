/** Thresholds for callers that give none. */

/** Majority of the keys, as hex; "0" of none. */
export function majority(count: number): string {
  return Math.ceil(count / 2).toString(16);
}

/**
 * The least number of receipts that holds against every minority of faulty witnesses (KAWA):
 * with f = ⌊(n − 1) / 3⌋ faults, ⌈(n + f + 1) / 2⌉.
 */
export function ampleWitnesses(count: number): number {
  const fewestFaults = Math.max(1, Math.floor((count - 1) / 3));
  const mostFaults = Math.max(1, Math.ceil((count - 1) / 3));
  return Math.min(
    count,
    Math.ceil((count + fewestFaults + 1) / 2),
    Math.ceil((count + mostFaults + 1) / 2),
  );
}
