/**
 * The echo through a tunnel: one datagram asks, as long as its sender likes, and one of fixed length answers how long it was. So each
 * end measures its own direction, and nobody gets more than it has sent.
 *
 * `KMEC` · 1 asks, 2 answers · 0 · length of the datagram that asked (2 bytes, big endian) · token (8 bytes) · zeros, in one that asks
 */

const MAGIC = [0x4b, 0x4d, 0x45, 0x43] as const;
/** Bytes of the shortest datagram that asks, and of each that answers. */
export const ECHO_HEADER = 16;
/** Bytes: no device takes longer packets. */
export const MAX_ECHO = 9_216;
const TOKEN_AT = 8;
/** Bytes. */
export const ECHO_TOKEN = 8;

export interface EchoMessage {
  readonly kind: 'ask' | 'answer';
  /** Bytes of the datagram that asked, its header included. */
  readonly size: number;
  readonly token: Uint8Array;
}

/** @param message with a size from {@link ECHO_HEADER} to {@link MAX_ECHO}, and a token of {@link ECHO_TOKEN} bytes */
export function encodeEcho({ kind, size, token }: EchoMessage): Uint8Array {
  const bytes = new Uint8Array(kind === 'ask' ? size : ECHO_HEADER);
  bytes.set([...MAGIC, kind === 'ask' ? 1 : 2, 0, size >> 8, size & 0xff]);
  bytes.set(token, TOKEN_AT);
  return bytes;
}

/** Undefined for anything but what {@link encodeEcho} makes. @param bytes attacker-controlled */
export function decodeEcho(bytes: Uint8Array): EchoMessage | undefined {
  if (bytes.length < ECHO_HEADER || bytes.length > MAX_ECHO) return undefined;
  if (MAGIC.some((byte, at) => bytes[at] !== byte) || bytes[5] !== 0) return undefined;
  const kind = bytes[4] === 1 ? 'ask' : bytes[4] === 2 ? 'answer' : undefined;
  const size = ((bytes[6] ?? 0) << 8) | (bytes[7] ?? 0);
  if (kind === undefined || size < ECHO_HEADER || size > MAX_ECHO) return undefined;
  if (bytes.length !== (kind === 'ask' ? size : ECHO_HEADER)) return undefined;
  for (let at = ECHO_HEADER; at < bytes.length; at++) if (bytes[at] !== 0) return undefined;
  return { kind, size, token: bytes.slice(TOKEN_AT, ECHO_HEADER) };
}
