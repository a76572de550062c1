/** What tunnels need of agreements: preshared keys per pair and view. */
import type { Aid } from '#kel/identifiers';
import type { Contribution } from '#kel/record/edge-rule';
import type { Secret } from '#src/secret';
import type { TunnelView } from './view.ts';

export interface Agreed {
  /** Agreement id, 32 bytes: the transcript hash. */
  readonly th: Uint8Array;
  /** As the clock showed it, milliseconds since the Unix epoch: for people, and beside the handshakes of a device. */
  readonly at: number;
  /** The same moment by steady time, milliseconds since the Unix epoch. */
  readonly steady: number;
  /** Monotonic; of an agreement from before this start that of the start. */
  readonly since: number;
  /** What was mixed into its keys, in the order in which all are shown. */
  readonly sources: readonly Contribution[];
}

/** Preshared keys for one write of the devices: whoever took them disposes of them when it is done, and they are wiped. */
export interface HeldKeys extends Disposable {
  /** Of the current epoch, 32 bytes; undefined when nothing was agreed. */
  of(aid: Aid, view: TunnelView): Secret | undefined;
}

export interface PairKeys {
  /** The confirmed agreement of a view; the end that initiates runs one first. Undefined: the other end has to begin. */
  ensure(aid: Aid, view: TunnelView): Promise<Agreed | undefined>;
  agreed(aid: Aid, view: TunnelView): Agreed | undefined;
  /**
   * Brings the keys of these views to the current epoch, in one durable write, and hands them out. Views without an agreement are
   * passed over, and those whose agreement is below the policy. Throws AGREEMENT_NONE when the chain of an agreement is gone.
   */
  take(views: readonly (readonly [Aid, TunnelView])[]): Promise<HeldKeys>;
  /** Drops the keys of every view of the pair except `keep`. */
  retire(aid: Aid, keep: readonly TunnelView[]): Promise<void>;
  onAgreed(listener: (aid: Aid, view: TunnelView) => void): void;
}
