/**
 * When two events prove that a log has forked: both are of one AID, type and sequence number and follow the
 * same event. A rotation beside an interaction is recovery, and a delegated rotation may give way to a later
 * one that the delegator has approved (rules A0 and B1 to B3): neither proves anything.
 */
import type { KeyEvent } from '#kel/event/key-event';
import type { Said } from '#kel/identifiers';

/** What is compared of an event. */
export type ForkSide = Pick<KeyEvent, 'aid' | 'sn' | 'said' | 'type'> & { readonly prior?: Said };

const FORKING: ReadonlySet<KeyEvent['type']> = new Set(['icp', 'rot', 'ixn']);

/** True when both events, if their controller has signed them, are duplicity. */
export function isFork(a: ForkSide, b: ForkSide): boolean {
  return (
    a.aid === b.aid &&
    a.sn === b.sn &&
    a.said !== b.said &&
    a.type === b.type &&
    a.prior === b.prior &&
    FORKING.has(a.type)
  );
}
