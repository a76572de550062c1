/** IP prefixes (`10.1.0.0/16`, `fd00:1::/48`): parsed once, to bytes; whatever is compared, encoded or printed comes from those. */
import { formatIpAddress, parseIpAddress, unmapIpv4 } from './ip-address.ts';

export interface IpPrefix {
  /** 4 or 16 bytes, zero behind the prefix; never in `::ffff:0:0/96`, which means two things to two implementations. */
  readonly bytes: Uint8Array;
  /** In bits. */
  readonly length: number;
}

const MAX_TEXT = 64;

/** @returns undefined when it is not ADDRESS/LENGTH, a bit outside the prefix is set, or the address is an IPv4-mapped one */
export function parseIpPrefix(text: string): IpPrefix | undefined {
  if (text.length > MAX_TEXT) return undefined;
  const match = /^([0-9a-fA-F:.]+)\/(0|[1-9]\d{0,2})$/.exec(text);
  const bytes = parseIpAddress(match?.[1] ?? '');
  return bytes === undefined ? undefined : ipPrefix(bytes, Number(match?.[2]));
}

/** @returns as {@link parseIpPrefix} */
export function ipPrefix(bytes: Uint8Array, length: number): IpPrefix | undefined {
  if (length > 8 * bytes.length || unmapIpv4(bytes) !== undefined) return undefined;
  const mask = maskOf(bytes.length, length);
  return bytes.every((byte, i) => (byte & ~(mask[i] as number)) === 0)
    ? { bytes, length }
    : undefined;
}

/** Canonical text. */
export function formatIpPrefix({ bytes, length }: IpPrefix): string {
  return `${formatIpAddress(bytes)}/${length}`;
}

/** @param address 4 or 16 bytes; one of the other family is in no prefix */
export function isInPrefix(address: Uint8Array, { bytes, length }: IpPrefix): boolean {
  if (address.length !== bytes.length) return false;
  const mask = maskOf(bytes.length, length);
  return bytes.every((byte, i) => byte === ((address[i] as number) & (mask[i] as number)));
}

/** @param size bytes  @param length leading one bits */
export function maskOf(size: number, length: number): Uint8Array {
  return Uint8Array.from({ length: size }, (_, i) => {
    const bits = Math.min(8, Math.max(0, length - 8 * i));
    return (0xff << (8 - bits)) & 0xff;
  });
}
