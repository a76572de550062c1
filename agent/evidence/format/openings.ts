/** Openings of a leaf as bytes: what its commitments commit to. */
import type { CborValue } from '#src/cbor';
import type { Opening, Openings } from './leaf.ts';
import { asBytes, asList, asText, ShapeError } from './shape.ts';

/** A list of [name, salt, value]. */
export function openingsToCbor(openings: Openings): CborValue {
  return [...openings].map(([name, { salt, value }]) => [name, salt, value]);
}

/** Inverse of {@link openingsToCbor}; names may not repeat. @throws ShapeError */
export function decodeOpenings(value: CborValue | undefined): Openings {
  const openings = new Map<string, Opening>();
  for (const item of asList(value, 'openings')) {
    const [name, salt, encoded] = asList(item, 'opening', 3);
    const field = asText(name, 'field');
    if (openings.has(field)) throw new ShapeError(`openings: field ${field} stands twice`);
    openings.set(field, { salt: asBytes(salt, 'salt', 32), value: asBytes(encoded, 'value') });
  }
  return openings;
}
