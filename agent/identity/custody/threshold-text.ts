/** Thresholds as people write and read them. */
import type { ThresholdForm } from '#kel/key-state/key-state';

/** `2`, or weights `1/2,1/2,1/2`, clauses separated by `;`. What the event takes is checked with the event. */
export function thresholdOf(text: string): ThresholdForm {
  const compact = text.replaceAll(' ', '');
  if (/^[1-9][0-9]{0,3}$/.test(compact)) return Number(compact).toString(16);
  const clauses = compact.split(';').map((clause) => clause.split(','));
  return clauses.length === 1 ? (clauses[0] ?? []) : clauses;
}

/** @param names of the places that the threshold stands over */
export function thresholdWords(threshold: ThresholdForm, names: readonly string[]): string {
  if (typeof threshold === 'string') {
    const least = Number.parseInt(threshold, 16);
    if (least === 0) return 'none';
    if (names.length === 1) return 'the one key';
    return least === names.length
      ? `all ${names.length} together`
      : `any ${least} of the ${names.length}`;
  }
  const clauses = (Array.isArray(threshold[0]) ? threshold : [threshold]) as readonly string[][];
  let at = 0;
  return clauses
    .map((weights) => {
      const terms = weights.map((weight) => `${names[at++] ?? '?'} ${weight}`);
      return `weights that reach 1 of: ${terms.join(', ')}`;
    })
    .join('; and ');
}
