/**
 * How long a packet into a tunnel may be so that the datagram around it passes whole. WireGuard's own is never told: where the way of the
 * datagrams takes less, they leave as fragments, or in batches that nobody can cut, and get lost, while short ones pass. Pure.
 */

/** Bytes that WireGuard puts around a packet: its header and tag, UDP, and IPv4 or IPv6 (whitepaper 5.4.6). */
const OVERHEAD = { ipv4: 16 + 16 + 8 + 20, ipv6: 16 + 16 + 8 + 40 } as const;
/** WireGuard pads a packet to a multiple of this (whitepaper 5.4.6), as far as the device takes it. */
const PADDING = 16;
/** Bytes of the least that is ever set: what any IPv4 host takes, RFC 791 3.1, as a multiple of the padding. */
export const MIN_PATH_MTU = 576;

/**
 * @param underlay bytes of the largest datagram that the way to the other end takes, with its headers
 * @param device MTU of the device
 * @returns bytes of the longest packet into the tunnel whose datagram passes whole
 */
export function packetWithin(
  underlay: number,
  family: keyof typeof OVERHEAD,
  device: number,
): number {
  const room = underlay - OVERHEAD[family];
  // The padding ends at the MTU of the device.
  if (room >= device) return device;
  return Math.max(MIN_PATH_MTU, room - (room % PADDING));
}

/** Lengths to try where a packet of `full` bytes does not arrive, the longest last. */
export function lengthsBelow(full: number): readonly number[] {
  const lengths: number[] = [];
  for (let length = MIN_PATH_MTU; length < full; length += PADDING) lengths.push(length);
  return lengths;
}

/** What was found of a path; it only falls while the path is the same one: what was too long stays so. */
export interface PathLimit {
  /** The way of the datagrams: address of the other end, device and its MTU. */
  readonly path: string;
  /** Bytes of the longest packet into the tunnel. */
  readonly bytes: number;
  /** Bytes that the way of the datagrams takes, as the system knows it, where that is what limits. */
  readonly underlay: number | undefined;
  /** Longer packets did not arrive. */
  readonly isMeasured: boolean;
}

/** @param found of the same path or another  @returns the limit from now on */
export function limited(before: PathLimit | undefined, found: PathLimit): PathLimit {
  return before !== undefined && before.path === found.path && before.bytes <= found.bytes
    ? before
    : found;
}
