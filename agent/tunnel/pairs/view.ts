/**
 * A view of a tunnel: which tunnel keys of the two ends it uses. A tunnel moves from one view to the next
 * when an end rotates; each view has an agreement of its own, and at each end a device of its own.
 */
import type { Aid, Said } from '#kel/identifiers';

export interface TunnelView {
  /** SAIDs of the `tun` records in use. */
  readonly own: Said;
  readonly peer: Said;
}

/** A view that stands on a device. */
export interface PlacedView extends TunnelView {
  /** Of the own device, see `devices.ts`. */
  readonly slot: number;
  /** UDP port of the other end's device. */
  readonly port: number;
  /** This end starts the handshakes and holds the endpoint; the other learns it by roaming. */
  readonly initiates: boolean;
}

export function sameView(a: TunnelView | undefined, b: TunnelView | undefined): boolean {
  return a?.own === b?.own && a?.peer === b?.peer;
}

/** The same at both ends: the lower AID's record first. */
export function viewKey(own: Aid, peer: Aid, view: TunnelView): string {
  return own < peer ? `${view.own}.${view.peer}` : `${view.peer}.${view.own}`;
}
