/**
 * What is to be done next about a pair, decided from plain data without a clock, a disk or a device: `changes.ts` looks, asks and
 * performs one step, then looks again. So a restart, a broken exchange and newer keys in the middle need no code of their own:
 * what stands is what is asked about. `why` names the row of the table in the test.
 */
import type { DrainingView } from './pair.ts';
import type { Agreed } from './pair-keys.ts';
import type { PairLook } from './room.ts';
import { sameView, type TunnelView } from './view.ts';

/** What is around a pair. */
export interface PairWorld {
  /** The newest keys of both ends; undefined unless both are known and stand. */
  readonly newest: TunnelView | undefined;
  /** The own AID is the lower one. */
  readonly isLower: boolean;
  /** The agent of the other end is connected. */
  readonly isConnected: boolean;
  /** The staged view has a session on its device. */
  readonly isWarm: boolean;
  /** Of the newest view. `unasked`: nobody has asked for one since the last rest; `none`: the other end has to begin. */
  readonly agreement: 'unasked' | 'none' | Pick<Agreed, 'since'>;
  /** The own devices are as they should be. */
  readonly areDevicesMade: boolean;
}

export type Step =
  /** Nothing, until something pokes. */
  | {
      readonly kind: 'rest';
      readonly why:
        | 'not a member'
        | 'keys not known'
        | 'an exchange runs'
        | 'not connected'
        | 'the other end begins the agreement'
        | 'both ends on the newest keys';
    }
  /** Nothing by itself, but what is waited for pokes nobody: look again in a while. */
  | {
      readonly kind: 'wait';
      readonly why: 'not connected, a session may come' | 'the other end leads';
    }
  /** Routes to the staged view. */
  | { readonly kind: 'flip'; readonly why: 'staged view is warm' }
  /** Asks for the agreement of `view`: runs one where that is due. */
  | { readonly kind: 'agree'; readonly why: 'unasked'; readonly view: TunnelView }
  /** Changes over to `view` with the other end, or hears from it that it has. */
  | {
      readonly kind: 'lead';
      readonly why: 'own key is new' | 'both keys are new' | 'the other end is late';
      readonly view: TunnelView;
    }
  /** The own devices stand in the way: as a failure, tried again after a pause. */
  | { readonly kind: 'fail'; readonly why: 'devices not made' };

/** The end that waits for the other to lead does so itself after this. */
const PATIENCE_MS = 10_000;

/** @param pair undefined: the other end is no member  @param now monotonic */
export function nextStep(pair: PairLook | undefined, world: PairWorld, now: number): Step {
  const { newest, isConnected, isWarm, agreement, areDevicesMade } = world;
  if (pair === undefined) return { kind: 'rest', why: 'not a member' };
  if (newest === undefined) return { kind: 'rest', why: 'keys not known' };
  if (pair.isExchanging) return { kind: 'rest', why: 'an exchange runs' };
  // An exchange that broke off has staged it: the device shows whether it shook hands, whoever is there to talk to.
  if (isWarm && pair.staged !== undefined && sameView(pair.staged, newest))
    return { kind: 'flip', why: 'staged view is warm' };
  if (!isConnected)
    return pair.staged === undefined
      ? { kind: 'rest', why: 'not connected' }
      : { kind: 'wait', why: 'not connected, a session may come' };
  // A device that cannot be made keeps nobody from agreeing: the other end hears why when it comes to the tunnel.
  if (agreement === 'unasked') return { kind: 'agree', why: 'unasked', view: newest };
  if (!areDevicesMade) return { kind: 'fail', why: 'devices not made' };
  if (agreement === 'none') return { kind: 'rest', why: 'the other end begins the agreement' };
  const isOnNewest = sameView(pair.active, newest);
  if (isOnNewest && pair.draining.every(({ isConfirmed }) => isConfirmed))
    return { kind: 'rest', why: 'both ends on the newest keys' };
  const former = isOnNewest ? pair.draining.at(-1) : pair.active;
  return leadOrWait(former, newest, world.isLower, now - agreement.since > PATIENCE_MS);
}

/** The end whose key is new leads; of two new keys, or for the first tunnel, that with the lower AID. */
function leadOrWait(
  former: TunnelView | undefined,
  view: TunnelView,
  isLower: boolean,
  isLate: boolean,
): Step {
  const ownIsNew = former?.own !== view.own;
  const peerIsNew = former?.peer !== view.peer;
  if (ownIsNew && !peerIsNew) return { kind: 'lead', why: 'own key is new', view };
  if (ownIsNew && isLower) return { kind: 'lead', why: 'both keys are new', view };
  return isLate
    ? { kind: 'lead', why: 'the other end is late', view }
    : { kind: 'wait', why: 'the other end leads' };
}

/** What the change of a pair, on disk, is to become: `want` the newest keys, `settle` without one, or as it is. */
export type Following = 'want' | 'settle' | 'keep';

/** A pair that is not on the newest keys of both ends has a change under way, with a deadline. */
export function follow(pair: PairLook, newest: TunnelView | undefined): Following {
  const { isExchanging, active, change } = pair;
  if (isExchanging || newest === undefined) return 'keep';
  if (!sameView(active, newest)) return sameView(change, newest) ? 'keep' : 'want';
  return change !== undefined && !sameView(change, newest) ? 'settle' : 'keep';
}

/** Of a view before the active one. */
export type DrainStep =
  /** What has come until now was on its way: counted, and looked at again. */
  | { readonly kind: 'count'; readonly why: 'first look' }
  /** Something came since the last look, or the other end has not flipped: looked at again. */
  | { readonly kind: 'stay'; readonly why: 'packets come' | 'not confirmed' }
  /** Its place is free. */
  | { readonly kind: 'retire'; readonly why: 'silent' | 'overdue' };

/**
 * A former view goes when the other end has flipped too and nothing has come on it for a while: what comes later than packets on
 * their way was sent by an end that still routes to it. One that never confirms has time until the deadline of the change.
 * @param rxBytes that have come on it until now  @param isOverdue its deadline has passed
 */
export function nextDrainStep(view: DrainingView, rxBytes: number, isOverdue: boolean): DrainStep {
  if (view.rxBytes < 0) return { kind: 'count', why: 'first look' };
  const isSilent = rxBytes === view.rxBytes;
  if (isSilent && view.isConfirmed) return { kind: 'retire', why: 'silent' };
  if (isOverdue) return { kind: 'retire', why: 'overdue' };
  return { kind: 'stay', why: isSilent ? 'not confirmed' : 'packets come' };
}
