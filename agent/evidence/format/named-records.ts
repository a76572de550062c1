/** The records that a leaf names: evidence about it is whole only with them, so they are kept as long as it is. */
import type { Said } from '#kel/identifiers';
import { parseRecord } from '#kel/record/parse';
import type { LeafType, LeafValues } from './leaf.ts';

export function recordsNamedBy<T extends LeafType>(
  type: T,
  values: LeafValues[T],
): readonly Said[] {
  const named = values as Partial<
    LeafValues['tunnel-key'] & LeafValues['rotation'] & LeafValues['tunnel-up']
  >;
  switch (type as LeafType) {
    case 'tunnel-key':
      return named.record === undefined ? [] : [named.record];
    case 'rotation':
      return named.own === undefined || named.theirs === undefined ? [] : [named.own, named.theirs];
    case 'tunnel-up':
      return named.proof === undefined ? [] : recordsInProof(named.proof);
    default:
      // Charters, which `membership` names, are never forgotten.
      return [];
  }
}

/** None when it cannot be read: then the leaf is of no use to anybody, with or without them. */
function recordsInProof(message: Uint8Array): readonly Said[] {
  try {
    const { record } = parseRecord(message);
    return record.t === 'tup' ? [record.a.t, record.b.t] : [];
  } catch {
    return [];
  }
}
