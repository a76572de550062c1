/** Thresholds for callers that give none. */

import type { KeyState, ThresholdForm } from '../key-state/key-state.ts';

/** What is in force stays in force: a threshold over as many as before is the one of before; else their majority. */
export function carriedThreshold(
  before: ThresholdForm,
  over: readonly unknown[],
  now: readonly unknown[],
): ThresholdForm {
  return over.length === now.length ? before : majority(now.length);
}

/**
 * What is in force stays in force: as many receipts as before, and where witnesses are added to a list whose threshold was
 * ample, as many more as keep it so. No witness, no receipt. Above `count` where fewer are left than receipts are needed:
 * whoever cuts them says how many from then on.
 */
export function carriedWitnessThreshold(
  { witnesses, witnessThreshold }: Pick<KeyState, 'witnesses' | 'witnessThreshold'>,
  count: number,
): number {
  if (count === 0) return 0;
  const isGrowing = count > witnesses.length;
  const wasAmple = witnessThreshold >= ampleWitnesses(witnesses.length);
  return isGrowing && wasAmple
    ? Math.max(witnessThreshold, ampleWitnesses(count))
    : witnessThreshold;
}

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
