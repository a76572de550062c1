/** Why a packet to a member would not go into its tunnel now, from what the system answers. Pure. */
import type { WaysLook } from '#src/wireguard/ways';

export type PathFault =
  /** The own interface is not there, or is down. */
  | { readonly kind: 'link-down'; readonly device: string }
  /** The own overlay address stands on no interface. */
  | { readonly kind: 'address-missing'; readonly address: string }
  /** Packets to the member go into another interface. */
  | {
      readonly kind: 'routed-elsewhere';
      readonly device: string;
      /** Table that a rule leads to; undefined: a route of the main table. */
      readonly table: string | undefined;
    }
  /** The system refuses to send them. */
  | { readonly kind: 'not-routed'; readonly said: string };

export interface PathQuestion {
  readonly look: WaysLook;
  /** The device of the tunnel. */
  readonly device: string;
  /** All own devices: while a tunnel changes over, packets may go into either. */
  readonly devices: ReadonlySet<string>;
  /** Overlay addresses. */
  readonly own: string;
  readonly peer: string;
}

/** Undefined: it would go, or nobody has asked yet. The causes come before what follows from them. */
export function pathFault({
  look,
  device,
  devices,
  own,
  peer,
}: PathQuestion): PathFault | undefined {
  const way = look.ways.get(peer);
  if (way === undefined) return undefined;
  if (look.links.get(device)?.isUp !== true) return { kind: 'link-down', device };
  const home = look.ways.get(own);
  if (home !== undefined && home.kind !== 'local') return { kind: 'address-missing', address: own };
  if (way.kind === 'none') return { kind: 'not-routed', said: way.said };
  if (way.kind === 'local') return { kind: 'routed-elsewhere', device: 'lo', table: 'local' };
  return devices.has(way.device)
    ? undefined
    : { kind: 'routed-elsewhere', device: way.device, table: way.table };
}
