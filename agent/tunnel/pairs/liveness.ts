/**
 * Whether a tunnel carries packets now, told from what its device counts. WireGuard answers data within 10 s, with a keepalive where
 * there is nothing to say (whitepaper 6.5): so where nothing has come for a while, one datagram asks, and silence after it means
 * that the other end is not reached, long before the session ends. Pure; times are monotonic milliseconds.
 */

/** Nothing has come for this long: it is asked. */
export const QUIET_MS = 14_000;
/** KEEPALIVE_TIMEOUT of WireGuard, 10 s, and the way there and back. */
export const ANSWER_MS = 13_000;

/** Bytes that come between two looks without a packet: two keepalives of 32, a handshake of 148 or 92. */
const OWN_BYTES = 2 * 32 + 148 + 92;

/** What a device has shown of a peer so far. */
export interface Life {
  readonly rxBytes: bigint;
  /** Milliseconds since the Unix epoch, as the device says. */
  readonly lastHandshake: number;
  readonly lookedAt: number;
  /** When `rxBytes` was first seen to be what it is. */
  readonly cameAt: number;
  /** When it was asked since then; undefined: not yet. */
  readonly askedAt: number | undefined;
  /** An end that answers echoes has not answered those that asked. */
  readonly isUnanswered: boolean;
  /** The handshake is no older than since then; undefined: it is the first that was seen. */
  readonly handshakeAfter: number | undefined;
}

export interface Look {
  readonly rxBytes: bigint;
  readonly lastHandshake: number;
}

/** @param before of the same view; undefined: it is looked at for the first time */
export function lived(
  before: Life | undefined,
  { rxBytes, lastHandshake }: Look,
  now: number,
): Life {
  const hasCome = before === undefined || rxBytes !== before.rxBytes;
  const hasShaken = before !== undefined && lastHandshake !== before.lastHandshake;
  return {
    rxBytes,
    lastHandshake,
    lookedAt: now,
    cameAt: hasCome ? now : before.cameAt,
    askedAt: hasCome ? undefined : before.askedAt,
    isUnanswered: before?.isUnanswered === true && !(hasCome && isMore(before.rxBytes, rxBytes)),
    handshakeAfter: hasShaken ? before.lookedAt : before?.handshakeAfter,
  };
}

/** Whether it is time to ask. */
export function isQuiet({ cameAt, askedAt }: Life, now: number): boolean {
  return askedAt === undefined && now - cameAt >= QUIET_MS;
}

export function asked(life: Life, now: number): Life {
  return { ...life, askedAt: now };
}

/** More than the keepalives with which WireGuard itself answers, and its handshakes. */
function isMore(before: bigint, now: bigint): boolean {
  return now < before || now - before > BigInt(OWN_BYTES);
}

/** @param isReached whether an echo was answered, or nobody can say */
export function echoed(life: Life, isReached: boolean): Life {
  return { ...life, isUnanswered: !isReached };
}

/** How long nothing has come, although it was asked; undefined while something may still come. */
export function silentMs({ cameAt, askedAt, isUnanswered }: Life, now: number): number | undefined {
  if (askedAt === undefined) return undefined;
  return isUnanswered || now - askedAt >= ANSWER_MS ? now - cameAt : undefined;
}

/**
 * Milliseconds since the last handshake; undefined when there was none. The device dates it by a clock that may have been set since.
 * @param wall milliseconds since the Unix epoch
 */
export function handshakeAge(life: Life, now: number, wall: number): number | undefined {
  if (life.lastHandshake === 0) return undefined;
  const byClock = wall - life.lastHandshake;
  if (life.handshakeAfter === undefined) return Math.max(0, byClock);
  const atMost = now - life.handshakeAfter;
  return byClock < 0 ? atMost : Math.min(byClock, atMost);
}
