/** The witness list that a rotation leaves. */
import type { RotationEvent } from '#kel/event/key-event';
import type { Aid } from '#kel/identifiers';

/** Cuts in place, adds behind; the same list when neither is asked for. */
export function witnessesAfter(
  current: readonly Aid[],
  { witnessCuts, witnessAdds }: Pick<RotationEvent, 'witnessCuts' | 'witnessAdds'>,
): readonly Aid[] {
  if (witnessCuts.length + witnessAdds.length === 0) return current;
  const cut = new Set(witnessCuts);
  return [...current.filter((witness) => !cut.has(witness)), ...witnessAdds];
}
