/** What happens to whom and when in a soak run: it follows from the seed alone. */
import type { SeededRng } from '../../test/support/doubles/seeded-rng.ts';

export interface Action {
  /** Milliseconds since the start. */
  readonly at: number;
  readonly kind: 'rotate psk' | 'rotate tunnel' | 'rotate id' | 'kill' | 'partition';
  /** Index. */
  readonly node: number;
  /** Milliseconds until an agent that was killed starts again, or a node is back on the network; 0 for a rotation. */
  readonly lasts: number;
}

const KINDS: readonly Action['kind'][] = [
  'rotate psk',
  'rotate tunnel',
  'rotate id',
  'kill',
  'partition',
];
const [MIN_GAP_MS, MAX_GAP_MS] = [1_000, 5_000];
const [MIN_LASTS_MS, MAX_LASTS_MS] = [500, 20_000];
/** An agent that starts is not asked for anything yet. */
const START_MS = 3_000;

/** One every few seconds. Who does not run is not asked; nobody is killed or cut off twice at one time; the last one is back before the end. */
export function planActions(rng: SeededRng, nodes: number, durationMs: number): readonly Action[] {
  const between = (min: number, max: number) => min + rng.int(max - min);
  const actions: Action[] = [];
  const deadUntil = new Map<number, number>();
  const busyUntil = new Map<number, number>();
  for (let at = 0; at < durationMs; at += between(MIN_GAP_MS, MAX_GAP_MS)) {
    const kind = rng.pick(KINDS);
    const node = rng.int(nodes);
    const lasts = between(MIN_LASTS_MS, MAX_LASTS_MS);
    const isRotation = kind.startsWith('rotate');
    if (at < ((isRotation ? deadUntil : busyUntil).get(node) ?? 0)) continue;
    if (!isRotation && at + lasts > durationMs) continue;
    if (!isRotation) busyUntil.set(node, at + lasts + MAX_GAP_MS);
    if (kind === 'kill') deadUntil.set(node, at + lasts + START_MS);
    actions.push({ at, kind, node, lasts: isRotation ? 0 : lasts });
  }
  return actions;
}
