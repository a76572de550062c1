/** IP addresses as bytes and as canonical text: dotted decimal, and RFC 5952 for IPv6. */
import { isIPv4, isIPv6 } from 'node:net';

const MAPPED_PREFIX = Uint8Array.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);

/** @returns 4 or 16 bytes; undefined when `text` is not an address (zones are not part of one) */
export function parseIpAddress(text: string): Uint8Array | undefined {
  if (isIPv4(text)) return parseIpv4(text);
  if (isIPv6(text) && !text.includes('%')) return parseIpv6(text);
  return undefined;
}

/** @param bytes 4 or 16 bytes  @returns canonical text */
export function formatIpAddress(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  return formatIpv6(bytes);
}

/** The IPv4 address inside `::ffff:0:0/96`; undefined for every other address. */
export function unmapIpv4(bytes: Uint8Array): Uint8Array | undefined {
  if (bytes.length !== 16) return undefined;
  for (let i = 0; i < MAPPED_PREFIX.length; i++)
    if (bytes[i] !== MAPPED_PREFIX[i]) return undefined;
  return bytes.slice(12);
}

function parseIpv4(text: string): Uint8Array {
  const out = new Uint8Array(4);
  let at = 0;
  for (const byte of text.split('.')) out[at++] = Number(byte);
  return out;
}

function parseIpv6(text: string): Uint8Array {
  const out = new Uint8Array(16);
  const gap = text.indexOf('::');
  writeGroups(out, 0, gap < 0 ? text : text.slice(0, gap));
  if (gap < 0) return out;
  const tail = new Uint8Array(16);
  const length = writeGroups(tail, 0, text.slice(gap + 2));
  out.set(tail.subarray(0, length), 16 - length);
  return out;
}

/** @returns where the groups end in `out` */
function writeGroups(out: Uint8Array, start: number, text: string): number {
  if (text === '') return start;
  let at = start;
  for (const group of text.split(':'))
    if (group.includes('.')) for (const byte of group.split('.')) out[at++] = Number(byte);
    else {
      const value = Number.parseInt(group, 16);
      out[at++] = value >> 8;
      out[at++] = value & 0xff;
    }
  return at;
}

/** RFC 5952 4: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function formatIpv6(bytes: Uint8Array): string {
  let [start, length] = [-1, 1];
  for (let i = 0, run = 0; i < 8; i++) {
    run = groupAt(bytes, i) === 0 ? run + 1 : 0;
    if (run > length) [start, length] = [i - run + 1, run];
  }
  let text = '';
  for (let i = 0; i < 8; i++)
    if (i === start) {
      text += '::';
      i += length - 1;
    } else {
      text += (i === 0 || i === start + length ? '' : ':') + groupAt(bytes, i).toString(16);
    }
  return text;
}

function groupAt(bytes: Uint8Array, i: number): number {
  return ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number);
}
