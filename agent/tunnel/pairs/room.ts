/**
 * What own keys may take up, decided without a clock or a disk: no peer holds up the next own key. A rotation waits a moment for
 * pairs that are about to finish the change before; what has not followed by then is left behind, and catches up later.
 */
import type { Said } from '#kel/identifiers';
import type { ActiveView, DrainingView, PairChange } from './pair.ts';
import { type PlacedView, sameView, type TunnelView } from './view.ts';

/** What was on its way when this end flipped has come by then; what comes later was sent by an end that has not flipped. */
export const IN_FLIGHT_MS = 2_000;
/** A change that takes longer than an agreement, a handshake and a retry of it waits for something else: a path, or the peer. */
export const PROMPT_MS = 10_000;

/** A pair as far as room is concerned. */
export interface PairLook {
  readonly isExchanging: boolean;
  readonly active: ActiveView | undefined;
  readonly staged: PlacedView | undefined;
  readonly change: PairChange | undefined;
  /** Oldest first. */
  readonly draining: readonly DrainingView[];
}

/**
 * Whether a rotation of the own keys has reason to wait for this pair: the change before is about to end, and packets are lost
 * if its former key goes now. The caller bounds how long it waits in all.
 * @param now milliseconds since the Unix epoch
 */
export function isSettling(pair: PairLook, isConnected: boolean, now: number): boolean {
  const { isExchanging, active, change, draining } = pair;
  const isYoung = (since: number, ms: number) => Math.abs(now - since) < ms;
  if (active === undefined) return false;
  // An agent that went down in the middle of a change is back in seconds; one that was away before has not begun it.
  const hasBegun = isConnected || isExchanging || change?.step === 'staged';
  if (change !== undefined && hasBegun && isYoung(change.since, PROMPT_MS)) return true;
  const former = draining.findLast(({ own }) => own !== active.own);
  return (
    former !== undefined && isYoung(active.since, former.isConfirmed ? IN_FLIGHT_MS : PROMPT_MS)
  );
}

/**
 * Own keys that may be in use: the newest one and the one before, of those that stand.
 * @param records own `tun` records, oldest first
 */
export function keptKeys(
  records: readonly Said[],
  isRevoked: (key: Said) => boolean,
): ReadonlySet<Said> {
  return new Set(records.filter((key) => !isRevoked(key)).slice(-2));
}

/**
 * The slot that is given up when all are taken, and the views on it: where the fewest tunnels are active, then the fewest are
 * about to be, then the fewest drain. Undefined when each has a view that must stay.
 * @param mayGo whether a view may be given up for this
 */
export function slotToGiveUp(
  pairs: readonly PairLook[],
  mayGo: (view: PlacedView, role: 'active' | 'staged' | 'draining') => boolean,
): number | undefined {
  const costs = new Map<number, [active: number, staged: number, draining: number]>();
  const kept = new Set<number>();
  const count = (view: PlacedView, role: 'active' | 'staged' | 'draining') => {
    const cost = costs.get(view.slot) ?? [0, 0, 0];
    cost[role === 'active' ? 0 : role === 'staged' ? 1 : 2] += 1;
    costs.set(view.slot, cost);
    if (!mayGo(view, role)) kept.add(view.slot);
  };
  for (const { active, staged, draining } of pairs) {
    if (active !== undefined) count(active, 'active');
    if (staged !== undefined) count(staged, 'staged');
    for (const view of draining) count(view, 'draining');
  }
  const candidates = [...costs].filter(([slot]) => !kept.has(slot));
  candidates.sort(
    ([slotA, a], [slotB, b]) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2] || slotA - slotB,
  );
  return candidates[0]?.[0];
}

/** Whether the tunnel that the pair has now would go with the next own key: it is still on the key before the newest one. */
export function wouldBeLeftBehind(
  { active }: Pick<PairLook, 'active'>,
  current: Said | undefined,
): boolean {
  return active !== undefined && active.own !== current;
}

/** Views of `placed` that stand in `slot`. */
export function isIn(slot: number, placed: readonly PlacedView[]): (view: TunnelView) => boolean {
  const there = placed.filter((view) => view.slot === slot);
  return (view) => there.some((other) => sameView(other, view));
}
