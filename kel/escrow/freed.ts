/** What may be decided anew once an event is accepted: the same for whoever keeps what waits. */
import type { KeyEvent } from '#kel/event/key-event';
import { sealedEvent } from '#kel/event/seal';
import type { Aid, Said } from '#kel/identifiers';

/** Where messages wait, as far as this question goes. */
export interface WaitingPlaces<T> {
  /** What waits for the place `sn` of the log of `aid`, in order of arrival. */
  at(aid: Aid, sn: number): readonly T[];
  /** The event `said` of `aid`, if it waits for nothing but a seal, signatures or receipts. */
  event(aid: Aid, said: Said): T | undefined;
}

/**
 * In the order in which they are to be looked at: what stands beside the event (a rotation that may supersede it, its own
 * receipts), what may follow it, and the delegated events that it seals.
 */
export function freedBy<T>(
  { aid, sn, anchors }: KeyEvent,
  waiting: WaitingPlaces<T>,
): readonly T[] {
  const sealed = anchors.flatMap((anchor) => {
    const seal = sealedEvent(anchor);
    return (seal && waiting.event(seal.aid as Aid, seal.said as Said)) ?? [];
  });
  return [...new Set([...waiting.at(aid, sn), ...waiting.at(aid, sn + 1), ...sealed])];
}
